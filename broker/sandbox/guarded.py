"""``/keys/{guard}/…``: the API for those who come without OAuth, once for each way of proving who one is.

==============  ===========================================================================================
``header``      an API key in ``X-Api-Key``
``query``       an API key in the query parameter ``key``
``bearer``      an API key as bearer token (RFC 6750 §2.1)
``prefix``      an API key in ``Authorization`` after the word ``Key``
``basic``       e-mail address and password, or e-mail address and API key (RFC 7617); a domain may stand before
``signed``      ``X-Key-Id``, ``X-Timestamp``, ``X-Nonce`` and ``X-Signature``: see ``signatures``
``aws``         AWS Signature Version 4 for the services ``practice`` and ``s3``, in any region
``none``        nothing: the public part, without a whoami
==============  ===========================================================================================

Answers say in ``X-OAuth-Scopes`` what the credential may do (knob ``key_scopes``); the knob ``revoked_keys`` names
credentials that are refused: the API key, the password, the id of the signing or access key.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.accounts import SCOPES, Account
from broker.sandbox.behaviour import Fault
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.faults import claim_fault, faulty
from broker.sandbox.parameters import read_body
from broker.sandbox.provider import Provider
from broker.sandbox.signatures import AwsSignature, SignatureWrongError, Signed, check_own

PUBLIC: Final = Account("public", "Everybody")
_AWS_SERVICES: Final = ("practice", "s3")
_NONCE: Final = range(8, 129)

Guard = Callable[[Provider, Request, bytes], tuple[str, Account] | None]
"""Answers the name under which the credential of a request can be revoked, and whose it is; ``None``: it is no good."""


async def admit(provider: Provider, request: Request) -> tuple[Account, bytes]:
    """Whose request it is, by the guard in its path, and the request's body; raises a 401 where nobody's."""
    guard, body = _GUARDS.get(request.path_params["guard"]), await read_body(request)
    if guard is None:
        raise OAuthError("not_found", "there is no such guard", status=404)
    try:
        found = guard(provider, request, body)
    except SignatureWrongError as error:
        raise _unauthorized(str(error)) from None
    if found is None or provider.behaviour.revokes(found[0]):
        raise _unauthorized("the credential is missing, unknown or revoked")
    return found[1], body


def scopes_of_keys(provider: Provider) -> tuple[str, ...]:
    """What credentials may do that came without OAuth."""
    told = provider.behaviour.key_scopes
    return tuple(SCOPES) if told is None else told


class Guarded:
    """The resources behind the guards. ``api_fault`` comes before everything else."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def whoami(self, request: Request) -> Response:
        """Whose credential it is."""
        self._provider.counters.asked("whoami")
        if (fault := claim_fault(self._provider, "api_fault")) is not Fault.NONE:
            return faulty(self._provider, fault, {"sub": "nobody"})
        account, _ = await admit(self._provider, request)
        known = {name: value for name, value in asdict(account).items() if value is not None}
        return self._answer(known)

    async def messages(self, request: Request) -> Response:
        """The account's messages; needs ``messages.read``. Or, with POST, what was sent and is forgotten."""
        self._provider.counters.asked("api")
        if (fault := claim_fault(self._provider, "api_fault")) is not Fault.NONE:
            return faulty(self._provider, fault, {"messages": []})
        account, body = await admit(self._provider, request)
        needed = "messages.read" if request.method == "GET" else "messages.write"
        if needed not in scopes_of_keys(self._provider):
            raise OAuthError("insufficient_scope", f"needs {needed}", status=403)
        if request.method == "POST":
            return self._answer({"received": len(body)})
        return self._answer({"messages": [asdict(each) for each in self._provider.mailboxes.of(account.sub)]})

    def _answer(self, body: Mapping[str, object]) -> Response:
        scopes = ", ".join(scopes_of_keys(self._provider))
        return JSONResponse(body, headers={**NO_STORE, "X-OAuth-Scopes": scopes})


def _key_in_header(provider: Provider, request: Request, _body: bytes) -> tuple[str, Account] | None:
    return _holder(provider, request.headers.get("x-api-key", ""))


def _key_in_query(provider: Provider, request: Request, _body: bytes) -> tuple[str, Account] | None:
    return _holder(provider, request.query_params.get("key", ""))


def _key_after(word: str) -> Guard:
    def guard(provider: Provider, request: Request, _body: bytes) -> tuple[str, Account] | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return _holder(provider, key.strip()) if scheme.lower() == word else None

    return guard


def _basic(provider: Provider, request: Request, _body: bytes) -> tuple[str, Account] | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        pair = b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    username, colon, password = pair.rpartition("\\")[2].partition(":")
    if scheme.lower() != "basic" or not colon:
        return None
    holder = _holder(provider, password)
    if holder is not None and holder[1].email == username:
        return holder
    account = provider.keys.passwords.get((username, password))
    return None if account is None else (password, account)


def _signed(provider: Provider, request: Request, body: bytes) -> tuple[str, Account] | None:
    key_id, nonce = request.headers.get("x-key-id", ""), request.headers.get("x-nonce", "")
    if key_id not in provider.keys.signing_keys or len(nonce) not in _NONCE:
        return None
    secret, account = provider.keys.signing_keys[key_id]
    check_own(
        _as_signed(request, body),
        secret,
        timestamp=request.headers.get("x-timestamp", ""),
        nonce=nonce,
        signature=request.headers.get("x-signature", ""),
        now=provider.clock(),
    )
    if nonce in provider.keys.nonces:
        raise SignatureWrongError("the nonce came before")
    provider.keys.nonces.add(nonce)
    return key_id, account


def _aws(provider: Provider, request: Request, body: bytes) -> tuple[str, Account] | None:
    signature = AwsSignature.of(request.headers.get("authorization", ""))
    key = provider.keys.aws_keys.get(signature.access_key_id)
    if key is None or request.headers.get("x-amz-security-token") != key.session_token:
        return None
    if signature.service not in _AWS_SERVICES:
        raise SignatureWrongError("the signature is for another service")
    if signature.service == "s3" and "x-amz-content-sha256" not in request.headers:
        raise SignatureWrongError("x-amz-content-sha256 is missing")
    signature.check(_as_signed(request, body), key.secret, now=provider.clock())
    return signature.access_key_id, key.account


def _nothing(_provider: Provider, _request: Request, _body: bytes) -> tuple[str, Account] | None:
    return PUBLIC.sub, PUBLIC


def _holder(provider: Provider, key: str) -> tuple[str, Account] | None:
    account = provider.keys.api_keys.get(key)
    return None if account is None else (key, account)


def _as_signed(request: Request, body: bytes) -> Signed:
    path, query = request.scope["raw_path"].decode("ascii"), request.scope["query_string"].decode("ascii")
    return Signed(request.method, path, query, dict(request.headers), body)


def _unauthorized(description: str) -> OAuthError:
    return OAuthError("unauthorized", description, status=401)


_GUARDS: Final[Mapping[str, Guard]] = {
    "header": _key_in_header,
    "query": _key_in_query,
    "bearer": _key_after("bearer"),
    "prefix": _key_after("key"),
    "basic": _basic,
    "signed": _signed,
    "aws": _aws,
    "none": _nothing,
}

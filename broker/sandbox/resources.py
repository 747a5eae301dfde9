"""The API that access tokens open: ``/whoami`` and ``/api/messages`` (RFC 6750)."""

import json
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.accounts import PEOPLE
from broker.sandbox.behaviour import Fault
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.faults import claim_fault, faulty
from broker.sandbox.grants import AccessToken
from broker.sandbox.parameters import read_body
from broker.sandbox.provider import Provider

_LONGEST_TEXT = 2000
_CHALLENGE = 'Bearer realm="practice provider"'


class Resources:
    """The token comes in the ``Authorization`` header only. ``api_fault`` comes before everything else."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def whoami(self, request: Request) -> Response:
        """Whom the token speaks for; for a client's own token that is the client."""
        self._provider.counters.asked("whoami")
        if (fault := claim_fault(self._provider, "api_fault")) is not Fault.NONE:
            return faulty(self._provider, fault, asdict(PEOPLE[0]))
        account = bearer_of(self._provider, request).grant.account
        known = {name: value for name, value in asdict(account).items() if value is not None}
        return JSONResponse(known, headers=NO_STORE)

    async def list_messages(self, request: Request) -> Response:
        """The account's messages; needs ``messages.read``."""
        self._provider.counters.asked("api")
        if (fault := claim_fault(self._provider, "api_fault")) is not Fault.NONE:
            return faulty(self._provider, fault, {"messages": []})
        account = bearer_of(self._provider, request, scope="messages.read").grant.account
        messages = [asdict(message) for message in self._provider.mailboxes.of(account.sub)]
        return JSONResponse({"messages": messages}, headers=NO_STORE)

    async def send_message(self, request: Request) -> Response:
        """Store ``{"text": …}`` as a message; needs ``messages.write``."""
        self._provider.counters.asked("api")
        if (fault := claim_fault(self._provider, "api_fault")) is not Fault.NONE:
            return faulty(self._provider, fault, {})
        account = bearer_of(self._provider, request, scope="messages.write").grant.account
        text = _text(await read_body(request))
        message = self._provider.mailboxes.add(account.sub, sender=account.email or account.sub, text=text)
        return JSONResponse(asdict(message), status_code=201, headers=NO_STORE)


def bearer_of(provider: Provider, request: Request, *, scope: str | None = None) -> AccessToken:
    """The live access token in the ``Authorization`` header; raises a 401 where there is none, a 403 without scope."""
    header = request.headers.get("authorization")
    if header is None:
        # RFC 6750 §3.1: a request without credentials learns the scheme, not an error code.
        raise OAuthError("invalid_token", "an access token is needed", status=401, challenge=_CHALLENGE)
    scheme, _, value = header.partition(" ")
    token = provider.grants.live_access_token(value.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        challenge = f'{_CHALLENGE}, error="invalid_token"'
        description = "the access token is unknown, expired or revoked"
        raise OAuthError("invalid_token", description, status=401, challenge=challenge)
    if scope is not None and scope not in token.scopes:
        challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        raise OAuthError("insufficient_scope", f"needs {scope}", status=403, challenge=challenge)
    return token


def _text(body: bytes) -> str:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise OAuthError("invalid_request", "the body must be JSON") from None
    text = message.get("text") if isinstance(message, dict) else None
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_TEXT:
        raise OAuthError("invalid_request", f"text: must be 1 to {_LONGEST_TEXT} characters")
    return text

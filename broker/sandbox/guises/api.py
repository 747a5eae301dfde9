"""What credentials open at a guise: its whoami, and the API behind it, which says what it was asked."""

import binascii
from base64 import b64decode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.assertions import app_of
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.grants import Grant
from broker.sandbox.guises.asked import check_headers
from broker.sandbox.guises.description import Answer, Api, Credential, Installations, Whoami
from broker.sandbox.guises.guise import Guise
from broker.sandbox.guises.templates import answered
from broker.sandbox.parameters import read_body
from broker.sandbox.signatures import AwsSignature, SignatureWrongError, Signed

_REFUSED = Answer(status=401, body={"error": "invalid_token"})
_LACKING = Answer(status=400, body={"error": "invalid_request", "message": "{description}"})


async def whoami(guise: Guise, rule: Whoami, request: Request) -> Response:
    """Whose the credential is."""
    guise.asked["whoami"] += 1
    body = await read_body(request)
    scopes, refusal = _admitted(guise, request, body, rule, rule.refused)
    if refusal is not None:
        return refusal
    for name, expected in rule.params.items():
        if request.query_params.get(name) is None or expected not in {None, request.query_params[name]}:
            return _refuse(guise, _LACKING, OAuthError("invalid_request", f"the parameter {name} must be {expected}"))
    said = body.decode(errors="replace")
    if rule.asks_for and not all(word in said for word in rule.asks_for):
        return _refuse(guise, _LACKING, OAuthError("invalid_request", f"must ask for {' and '.join(rule.asks_for)}"))
    if rule.needs_scope is not None and scopes is not None and rule.needs_scope not in scopes:
        return _refuse(guise, rule.refused, OAuthError("insufficient_scope", f"needs {rule.needs_scope}"))
    return answered(rule.answer, guise.values())


async def api(guise: Guise, rule: Api, request: Request, address: str) -> Response:
    """What was asked, for whoever may ask."""
    guise.asked["api"] += 1
    refused = guise.description.whoami.refused if guise.description.whoami else _REFUSED
    scopes, refusal = _admitted(guise, request, await read_body(request), rule, refused)
    if refusal is not None:
        return refusal
    asked = {"address": address, "method": request.method, "scopes": list(scopes or ())}
    return JSONResponse(asked, headers=NO_STORE)


async def installation(guise: Guise, rule: Installations, request: Request, installation_id: str) -> Response:
    """A token for where the app is installed, for an app that proves who it is."""
    guise.asked["installations"] += 1
    try:
        check_headers(request, rule.headers)
        client_id = app_of(
            guise.provider, request.headers.get("authorization", ""), app=guise.description.app.client_id
        )
    except OAuthError as error:
        return _refuse(guise, Answer(status=401, body={"message": "{description}"}), error)
    if installation_id not in rule.ids:
        refused = Answer(status=404, body={"message": "Not Found"})
        return _refuse(guise, refused, OAuthError("not_found", "the app is not installed there"))
    issued = guise.provider.grants.issue(Grant(client_id, guise.account, ()), guise.provider.behaviour)
    return answered(rule.answer, guise.values(access_token=issued.access_token))


def _admitted(
    guise: Guise, request: Request, body: bytes, rule: Whoami | Api, refused: Answer
) -> tuple[tuple[str, ...] | None, Response | None]:
    """What the credential of a request may do (``None``: no scopes are known of it), or the refusal."""
    try:
        scopes = _scopes_of(guise, request, body, rule.signed_for)
    except OAuthError as error:
        return None, _refuse(guise, refused, error)
    try:
        check_headers(request, rule.headers)
    except OAuthError as error:
        return None, _refuse(guise, _LACKING, error)
    return scopes, None


def _refuse(guise: Guise, answer: Answer, error: OAuthError) -> Response:
    guise.refusals.append(f"api: {error}")
    return answered(answer, guise.values(error=error.error, description=error.description))


def _scopes_of(guise: Guise, request: Request, body: bytes, signed_for: str) -> tuple[str, ...] | None:
    rule = guise.description.credential
    if rule.scheme == "aws_sigv4":
        _check_signature(guise, rule, request, body, signed_for)
        return None
    value = _presented(rule, request)
    if value in rule.keys:
        return None
    token = guise.provider.grants.live_access_token(value)
    if token is None:
        raise OAuthError("invalid_token", f"no credential by {rule.scheme} {rule.name} that is known here")
    return token.scopes


def _presented(rule: Credential, request: Request) -> str:
    """The credential of a request, where this provider looks for it; empty: none is there."""
    authorization = request.headers.get("authorization", "")
    word, _, rest = authorization.partition(" ")
    match rule.scheme:
        case "bearer":
            return rest.strip() if word.lower() == "bearer" else ""
        case "bare":
            return authorization
        case "header":
            return request.headers.get(rule.name, "")
        case "query":
            return request.query_params.get(rule.name, "")
        case "basic" if word.lower() == "basic":
            try:
                return b64decode(rest.strip(), validate=True).decode().replace(":", " ", 1)
            except (binascii.Error, UnicodeDecodeError):
                return ""
    return ""


def _check_signature(guise: Guise, rule: Credential, request: Request, body: bytes, signed_for: str) -> None:
    secrets = dict(pair.split(" ", 1) for pair in rule.keys)
    path, query = request.scope["raw_path"].decode("ascii"), request.scope["query_string"].decode("ascii")
    signed = Signed(request.method, path, query, dict(request.headers), body)
    try:
        signature = AwsSignature.of(request.headers.get("authorization", ""))
        if signature.access_key_id not in secrets:
            raise OAuthError("InvalidClientTokenId", "the access key is not known")
        if signature.scope != f"{signature.date}/{signed_for}/aws4_request":
            raise SignatureWrongError(f"the signature must be for {signed_for}")
        signature.check(signed, secrets[signature.access_key_id], now=guise.provider.clock())
    except SignatureWrongError as error:
        raise OAuthError("SignatureDoesNotMatch", str(error)) from None

"""The device grant of a guise (RFC 8628 §3.1 and §3.2); the person's decision comes through ``/control``."""

from starlette.requests import Request
from starlette.responses import Response

from broker.sandbox.accounts import Account
from broker.sandbox.devices import decide
from broker.sandbox.errors import OAuthError
from broker.sandbox.grants import Grant
from broker.sandbox.guises.asked import check_headers, client_of, read_fields
from broker.sandbox.guises.authorize import read_scopes
from broker.sandbox.guises.description import Answer, Device
from broker.sandbox.guises.guise import Guise
from broker.sandbox.guises.templates import answered


async def device(guise: Guise, rule: Device, request: Request) -> Response:
    """Codes for a machine, in the provider's shape."""
    guise.asked["device"] += 1
    try:
        check_headers(request, rule.headers)
        fields = await read_fields(request, rule.body)
        client = client_of(guise.provider, request, fields, rule.auth)
        asked, authorize = fields.get("scope"), guise.description.authorize
        scopes = read_scopes(authorize, asked) if asked and authorize else ()
    except OAuthError as error:
        guise.refusals.append(f"device: {error}")
        refused = Answer(status=error.status, body={"error": "{error}", "error_description": "{description}"})
        return answered(refused, guise.values(error=error.error, description=error.description))
    device_code, attempt = guise.provider.devices.start(client.client_id, scopes, guise.provider.behaviour)
    values = guise.values(
        device_code=device_code, user_code=attempt.user_code, expires_in=rule.lives, interval=rule.interval
    )
    return answered(Answer(body=rule.answer), values)


def decide_device(guise: Guise, user_code: str, account: Account | None) -> None:
    """Allow all that the waiting device asks for to ``account``; ``None``: deny it."""
    attempt = guise.provider.devices.waiting(user_code)
    if attempt is None:
        raise OAuthError("invalid_request", "no device waits under this code")
    if account is not None:
        guise.granted.append(attempt.scopes)
    decide(attempt, Grant(attempt.client_id, account, attempt.scopes) if account else None)

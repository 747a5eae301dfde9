"""Tokens that are given back to a guise, the way its provider takes them."""

from starlette.requests import Request
from starlette.responses import Response

from broker.sandbox.errors import OAuthError
from broker.sandbox.guises.asked import check_headers, client_of, read_fields
from broker.sandbox.guises.description import Revoke
from broker.sandbox.guises.guise import Guise
from broker.sandbox.guises.templates import answered
from broker.sandbox.parameters import Parameters


async def revoke(guise: Guise, rule: Revoke, request: Request) -> Response:
    """End a token that works; one that doesn't is refused, so that whoever sends the wrong one hears of it."""
    guise.asked["revoke"] += 1
    try:
        check_headers(request, rule.headers)
        value = await _token(guise, rule, request)
        _end(guise, rule, value)
    except OAuthError as error:
        guise.refusals.append(f"revoke: {error}")
        return answered(rule.refused, guise.values(error=error.error, description=error.description))
    return answered(rule.answer, guise.values())


async def _token(guise: Guise, rule: Revoke, request: Request) -> str:
    if rule.by == "token":
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise OAuthError("invalid_request", "the token must be sent as bearer")
        return value.strip()
    fields = await read_fields(request, rule.body)
    _ = client_of(guise.provider, request, fields, rule.auth)
    return _only(fields, rule.field)


def _only(fields: Parameters, name: str) -> str:
    if fields.get(name) is None:
        raise OAuthError("invalid_request", f"the token must be sent as {name}")
    return fields.require(name)


def _end(guise: Guise, rule: Revoke, value: str) -> None:
    grants, behaviour = guise.provider.grants, guise.provider.behaviour
    access, refresh = grants.live_access_token(value), grants.live_refresh_token(value, behaviour)
    found = access or refresh
    kind = "access_token" if access else "refresh_token"
    if found is None or kind not in rule.takes:
        raise OAuthError("invalid_token", f"no living {' or '.join(rule.takes)}")
    guise.revoked.append(kind)
    if rule.ends == "token":
        grants.forget(value)
        return
    found.grant.revoked = True
    grants.revoke(value, client_id=found.grant.client_id, behaviour=behaviour)

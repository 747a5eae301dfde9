"""The token endpoint of a guise: its own words for what is wrong, its own shape for what is right."""

from collections.abc import Mapping

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from broker.sandbox.assertions import granted_to_service_account
from broker.sandbox.devices import DEVICE_GRANT
from broker.sandbox.errors import OAuthError
from broker.sandbox.grants import Issued
from broker.sandbox.guises.asked import check_fields, check_headers, client_of, read_fields
from broker.sandbox.guises.authorize import read_scopes
from broker.sandbox.guises.description import Answer, Token
from broker.sandbox.guises.guise import Guise
from broker.sandbox.guises.templates import answered
from broker.sandbox.parameters import Parameters
from broker.sandbox.provider import JWT_BEARER

_SPOILT = {"authorization_code": "invalid_code", "refresh_token": "invalid_refresh_token"}
"""What ``invalid_grant`` means with each grant type; providers often tell them apart."""


async def token(guise: Guise, rule: Token, request: Request) -> Response:
    """Tokens, or the provider's way of saying no."""
    as_form = rule.speaks == "form" or (
        rule.speaks == "what_is_asked_for" and "application/json" not in request.headers.get("accept", "")
    )
    grant_type = ""
    try:
        fields = await read_fields(request, rule.body)
        grant_type = fields.require("grant_type")
        guise.asked[f"token {grant_type}"] += 1
        check_headers(request, rule.headers)
        check_fields(fields, rule.params)
        issued = _granted(guise, rule, request, grant_type, fields)
    except OAuthError as error:
        guise.refusals.append(f"token {grant_type}: {error}")
        answer, values = _refusal(rule, grant_type, error)
        return answered(answer, guise.values(**values), as_form=as_form)
    refreshed = grant_type == "refresh_token" and rule.refresh is not None and rule.refresh.answer is not None
    body = rule.refresh.answer if refreshed and rule.refresh else rule.answer
    return answered(Answer(body=body), guise.values(**_values(rule, issued)), as_form=as_form)


def _granted(guise: Guise, rule: Token, request: Request, grant_type: str, fields: Parameters) -> Issued:
    grants, behaviour = guise.provider.grants, guise.provider.behaviour
    if grant_type == JWT_BEARER and rule.assertions:
        audience = f"{guise.origin}/{rule.at}"
        grant = granted_to_service_account(guise.provider, fields, audience=audience, any_scope=True)
        guise.granted.append(grant.scopes)
        return grants.issue(grant, behaviour)
    if grant_type == DEVICE_GRANT and guise.description.device is not None:
        client = client_of(guise.provider, request, fields, guise.description.device.auth)
        device_code = fields.require("device_code")
        return grants.mint(guise.provider.devices.poll(device_code, client_id=client.client_id), behaviour)
    client = client_of(guise.provider, request, fields, rule.auth)
    if grant_type == "authorization_code":
        return grants.redeem(
            fields.require("code"),
            client_id=client.client_id,
            redirect_uri=fields.require("redirect_uri"),
            verifier=fields.get("code_verifier") or "",
            behaviour=behaviour,
        )
    if grant_type == "refresh_token" and rule.refresh is not None:
        check_fields(fields, rule.refresh.params)
        scopes, authorize = fields.get("scope"), guise.description.authorize
        return grants.refresh(
            fields.require("refresh_token"),
            client_id=client.client_id,
            scopes=read_scopes(authorize, scopes) if scopes and authorize else None,
            behaviour=behaviour,
        )
    raise OAuthError("unsupported_grant_type", "this provider does not have that grant type")


def _refusal(rule: Token, grant_type: str, error: OAuthError) -> tuple[Answer, Mapping[str, JsonValue]]:
    """The answer, and what its template may speak of."""
    values: dict[str, JsonValue] = {"error": error.error, "description": error.description}
    wrong = _SPOILT.get(grant_type, error.error) if error.error == "invalid_grant" else error.error
    own = rule.refusals.get(wrong) or rule.refusals.get("*")
    return own or Answer(status=error.status, body={"error": "{error}", "error_description": "{description}"}), values


def _values(rule: Token, issued: Issued) -> Mapping[str, JsonValue]:
    listed = [scope for scope in issued.scopes if scope not in rule.unlisted_scopes]
    return {
        "access_token": issued.access_token,
        "refresh_token": issued.refresh_token,
        "expires_in": rule.lives,
        "scope": rule.scope_separator.join(listed),
        "scopes": [*listed],
    }

"""``POST /token``: the endpoint owns the phases, each grant type fills in its difference (RFC 6749 §3.2)."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.accounts import DEFAULT_SCOPES, unknown_scopes
from broker.sandbox.clients import Client, authenticate
from broker.sandbox.errors import NO_STORE, OAuthError, ReuseError, error_answer
from broker.sandbox.grants import Issued
from broker.sandbox.parameters import Parameters, read_form
from broker.sandbox.provider import Provider


class TokenEndpoint:
    """Read, authenticate, grant, count, answer."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def post(self, request: Request) -> Response:
        """Answer RFC 6749 §5.1 or §5.2.

        The delay comes after the work, as on a slow network: a caller that gives up meanwhile has still used
        its code or rotated its refresh token, and the counters say so at once.
        """
        provider, grant_type = self._provider, None
        try:
            form = await read_form(request)
            form.refuse_repeated()
            grant_type = form.require("grant_type")
            issued = self._grant(grant_type, request.headers.get("authorization"), form)
        except OAuthError as error:
            provider.counters.token_answered(grant_type, ok=False)
            if isinstance(error, ReuseError):
                provider.counters.reuse_detected()
            answer = error_answer(error)
        else:
            provider.counters.token_answered(grant_type, ok=True)
            answer = _success(issued)
        await asyncio.sleep(provider.behaviour.token_delay_ms / 1000)
        return answer

    def _grant(self, grant_type: str, authorization: str | None, form: Parameters) -> Issued:
        client = authenticate(self._provider.clients, authorization, form)
        grant = _GRANTS.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", "this provider does not have that grant type")
        return grant(self._provider, client, form)


def _authorization_code(provider: Provider, client: Client, form: Parameters) -> Issued:
    return provider.grants.redeem(
        form.require("code"),
        client_id=client.client_id,
        redirect_uri=form.require("redirect_uri"),
        verifier=form.require("code_verifier"),
        behaviour=provider.behaviour,
    )


def _refresh_token(provider: Provider, client: Client, form: Parameters) -> Issued:
    return provider.grants.refresh(
        form.require("refresh_token"),
        client_id=client.client_id,
        scopes=_scopes(form),
        behaviour=provider.behaviour,
    )


def _client_credentials(provider: Provider, client: Client, form: Parameters) -> Issued:
    scopes = _scopes(form) or DEFAULT_SCOPES
    return provider.grants.issue_to_client(client.client_id, scopes, provider.behaviour)


_GRANTS: Mapping[str, Callable[[Provider, Client, Parameters], Issued]] = {
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    "client_credentials": _client_credentials,
}


def _scopes(form: Parameters) -> tuple[str, ...] | None:
    asked = tuple(dict.fromkeys((form.get("scope") or "").split()))
    if unknown_scopes(asked):
        raise OAuthError("invalid_scope", "this provider does not have all of these scopes")
    return asked or None


def _success(issued: Issued) -> JSONResponse:
    body: dict[str, object] = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": " ".join(issued.scopes),
    }
    if issued.refresh_token is not None:
        body["refresh_token"] = issued.refresh_token
    return JSONResponse(body, headers=NO_STORE)

"""``POST /token``: the endpoint owns the phases, each grant type fills in its difference (RFC 6749 §3.2).

read → held? → fault before the work? → authenticate, grant, count → held? → delay → answer, or fault after the work
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from broker.sandbox.accounts import DEFAULT_SCOPES, unknown_scopes
from broker.sandbox.assertions import granted_to_service_account
from broker.sandbox.behaviour import Behaviour, Fault, FaultWhen, RefreshTokenForm
from broker.sandbox.clients import Client, authenticate
from broker.sandbox.devices import DEVICE_GRANT
from broker.sandbox.errors import OAuthError, ReuseError, error_answer
from broker.sandbox.faults import claim_fault, faulty, with_lifetime
from broker.sandbox.grants import Issued
from broker.sandbox.parameters import Parameters, read_form
from broker.sandbox.provider import JWT_BEARER, Provider

_INVENTED = Issued("pat_of-no-grant", "prt_of-no-grant", 3600, DEFAULT_SCOPES)
"""What a fault shows of tokens where none were issued; nothing accepts them."""


class TokenEndpoint:
    """Read, authenticate, grant, count, answer."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def post(self, request: Request) -> Response:
        """Answer RFC 6749 §5.1 or §5.2, or what ``token_fault`` says.

        Delay and held answers come after the work, as on a slow network: a caller that gives up meanwhile has still
        used its code or rotated its refresh token, and the counters say so at once. What is held goes on when it is
        let go, whether or not its caller still waits.
        """
        counters = self._provider.counters
        with counters.handling_token():
            try:
                form = await read_form(request)
                form.refuse_repeated()
                grant_type = form.require("grant_type")
            except OAuthError as error:
                counters.token_answered(None, ok=False)
                return error_answer(error)
            with counters.waiting():
                await self._provider.until(lambda behaviour: not behaviour.hold_token_requests)
            return await self._answer(grant_type, request.headers.get("authorization"), form)

    async def _answer(self, grant_type: str, authorization: str | None, form: Parameters) -> Response:
        provider = self._provider
        behaviour = provider.behaviour
        fault = claim_fault(provider, "token_fault")
        if fault is not Fault.NONE and behaviour.fault_when is FaultWhen.BEFORE:
            provider.counters.token_answered(grant_type, ok=False)
            return faulty(provider, fault, _members(_INVENTED, behaviour))
        refusal, issued, error_code = None, _INVENTED, ""
        try:
            issued = self._grant(grant_type, authorization, form)
        except OAuthError as error:
            refusal, error_code = error_answer(error), error.error
            if isinstance(error, ReuseError):
                provider.counters.reuse_detected()
        provider.counters.token_answered(grant_type, ok=refusal is None, error=error_code)
        with provider.counters.waiting():
            await provider.until(lambda behaviour: not behaviour.hold_token_answers)
        await asyncio.sleep(provider.behaviour.token_delay_ms / 1000)
        if refusal is not None and fault is Fault.NONE:
            return refusal
        return faulty(provider, fault, _members(issued, behaviour))

    def _grant(self, grant_type: str, authorization: str | None, form: Parameters) -> Issued:
        if grant_type == JWT_BEARER:
            # The assertion says who asks; no client authenticates (RFC 7521 §4.1).
            return _jwt_bearer(self._provider, form)
        client = authenticate(self._provider.clients, authorization, form)
        grant = _GRANTS.get(grant_type)
        if grant is None or grant_type not in self._provider.grant_types:
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


def _device_code(provider: Provider, client: Client, form: Parameters) -> Issued:
    slow_downs = provider.behaviour.device_slow_downs
    provider.change(replace(provider.behaviour, device_slow_downs=max(0, slow_downs - 1)))
    allowed = provider.devices.poll(form.require("device_code"), client_id=client.client_id, slow_down=slow_downs > 0)
    return provider.grants.mint(allowed, provider.behaviour)


def _jwt_bearer(provider: Provider, form: Parameters) -> Issued:
    return provider.grants.issue(granted_to_service_account(provider, form), provider.behaviour)


_GRANTS: Mapping[str, Callable[[Provider, Client, Parameters], Issued]] = {
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    "client_credentials": _client_credentials,
    DEVICE_GRANT: _device_code,
}


def _scopes(form: Parameters) -> tuple[str, ...] | None:
    asked = tuple(dict.fromkeys((form.get("scope") or "").split()))
    if unknown_scopes(asked):
        raise OAuthError("invalid_scope", "this provider does not have all of these scopes")
    return asked or None


def _members(issued: Issued, behaviour: Behaviour) -> dict[str, object]:
    """The members of the answer, as the knobs want them shown."""
    body: dict[str, object] = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": " ".join(issued.scopes),
    }
    match behaviour.refresh_token_form:
        case RefreshTokenForm.NORMAL if issued.refresh_token is not None:
            body["refresh_token"] = issued.refresh_token
        case RefreshTokenForm.EMPTY:
            body["refresh_token"] = ""
        case RefreshTokenForm.NULL:
            body["refresh_token"] = None
    if issued.refresh_token_expires_in is not None:
        body["refresh_token_expires_in"] = issued.refresh_token_expires_in
    return with_lifetime(body, behaviour.expires_in)

"""``/device_authorization`` and ``/device``: codes for a machine, and the page where a person decides (RFC 8628).

The machine's polls are token requests and belong to ``token``. With ``device_grant`` off, nothing of this is there.
"""

import hmac
import secrets
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.accounts import DEFAULT_SCOPES, PEOPLE, SCOPES, person, unknown_scopes
from broker.sandbox.clients import authenticate
from broker.sandbox.devices import DeviceAuthorization, decide
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.grants import Grant
from broker.sandbox.pages import PageError, page
from broker.sandbox.parameters import Parameters, read_form
from broker.sandbox.provider import Provider


class DeviceEndpoints:
    """The machine's endpoint answers JSON, the person's answers pages."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def authorize(self, request: Request) -> Response:
        """Begin: the members of RFC 8628 §3.2, as the knobs want them shown. The client authenticates (§3.1)."""
        self._must_be_there()
        self._provider.counters.asked("device_authorization")
        form = await read_form(request)
        form.refuse_repeated()
        client = authenticate(self._provider.clients, request.headers.get("authorization"), form)
        behaviour = self._provider.behaviour
        device_code, attempt = self._provider.devices.start(client.client_id, self._scopes(form), behaviour)
        uri = f"{self._provider.issuer}/device"
        body: dict[str, object] = {
            "device_code": device_code,
            "user_code": attempt.user_code,
            behaviour.verification_uri_name: uri,
            "expires_in": behaviour.device_code_ttl,
            "interval": attempt.interval,
        }
        if behaviour.device_complete_uri:
            complete = f"{uri}?{urlencode({'user_code': attempt.user_code})}"
            body[f"{behaviour.verification_uri_name}_complete"] = complete
        return JSONResponse(body, headers=NO_STORE)

    async def get(self, request: Request) -> Response:
        """Where the code is typed; with ``user_code``, who asks and for what. Changes nothing that was decided."""
        self._must_be_there()
        try:
            typed = Parameters(request.url.query).get("user_code")
        except OAuthError as error:
            raise PageError("This address can't be read", error.description) from None
        if typed is None:
            return page("device.html", fault="")
        attempt = self._provider.devices.waiting(typed)
        if attempt is None:
            fault = "No device waits under this code. It may be mistyped, already answered, or too old."
            return page("device.html", status=400, fault=fault)
        attempt.form_token = secrets.token_urlsafe(32)
        return page(
            "consent.html",
            action="/device",
            form_token=attempt.form_token,
            user_code=attempt.user_code,
            client_id=attempt.client_id,
            returns_to="",
            scopes={scope: SCOPES[scope] for scope in attempt.scopes},
            people=PEOPLE,
        )

    async def post(self, request: Request) -> Response:
        """The person's decision, once."""
        self._must_be_there()
        try:
            form = await read_form(request)
            decision, form_token = form.require("decision"), form.require("form_token")
            attempt = self._provider.devices.waiting(form.require("user_code"))
            account, chosen = person(form.get("account")), form.all("scope")
        except OAuthError as error:
            raise PageError("This form can't be read", error.description) from None
        if attempt is None or not _fits(form_token, attempt):
            raise PageError("This request is over", "It was already answered, or waited too long.")
        if decision == "deny" or (decision == "allow" and account is not None and not chosen):
            decide(attempt, None)
            return page("message.html", title="Access was denied", explanation="The device gets nothing.")
        if decision != "allow" or account is None or not set(chosen) <= set(attempt.scopes):
            raise PageError("This form was altered", "It answers something that was not asked.")
        scopes = tuple(scope for scope in attempt.scopes if scope in chosen)
        decide(attempt, Grant(attempt.client_id, account, scopes))
        return page(
            "message.html", title="Your device is connected", explanation="Go back to it; it goes on by itself."
        )

    def _must_be_there(self) -> None:
        if not self._provider.behaviour.device_grant:
            raise HTTPException(404)

    def _scopes(self, form: Parameters) -> tuple[str, ...]:
        scopes = tuple(dict.fromkeys((form.get("scope") or "").split())) or DEFAULT_SCOPES
        allowed = self._provider.behaviour.device_scopes
        if unknown_scopes(scopes) or (allowed is not None and not set(scopes) <= set(allowed)):
            raise OAuthError("invalid_scope", "the device grant does not have all of these scopes")
        return scopes


def _fits(form_token: str, attempt: DeviceAuthorization) -> bool:
    # Another site can't know the token, so it can't decide in the person's stead.
    return bool(attempt.form_token) and hmac.compare_digest(form_token.encode(), attempt.form_token.encode())

"""``/authorize``: check the request, ask the person, send the browser back (RFC 6749 §4.1, RFC 9207).

A request whose client or redirect URI is wrong ends on a page here; every other fault is the app's to hear,
by redirect. What the person sees is kept here under a one-time form token, so the form they send back can
choose less than was asked, and nothing else.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.sandbox.accounts import DEFAULT_SCOPES, PEOPLE, SCOPES, Account, person, unknown_scopes
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.grants import Grant
from broker.sandbox.pages import PageError, page
from broker.sandbox.parameters import Parameters, read_form
from broker.sandbox.provider import Provider

_PENDING_TTL = 600
_S256_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class ReturnAddress:
    """Where the browser goes afterwards: already checked against the client's registration."""

    client_id: str
    redirect_uri: str
    state: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """An authorization request that waits for a person."""

    to: ReturnAddress
    scopes: tuple[str, ...]
    challenge: str
    expires_at: float


class AuthorizeEndpoint:
    """``GET`` shows the consent page and changes nothing; ``POST`` takes the decision, once."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._pending: dict[str, Pending] = {}

    async def get(self, request: Request) -> Response:
        """The consent page, or the redirect at once with ``auto_consent``."""
        self._provider.counters.asked("authorize")
        parameters = _readable(request.url.query)
        to = self._return_address(parameters)
        try:
            pending = self._read(parameters, to)
        except OAuthError as error:
            return self._redirect(to, {"error": error.error, "error_description": error.description})
        if self._provider.behaviour.auto_consent:
            return self._allow(pending, PEOPLE[0], pending.scopes)
        return page(
            "consent.html",
            action="/authorize",
            user_code="",
            form_token=self._remember(pending),
            client_id=to.client_id,
            returns_to=urlsplit(to.redirect_uri).netloc,
            scopes={scope: SCOPES[scope] for scope in pending.scopes},
            people=PEOPLE,
        )

    async def post(self, request: Request) -> Response:
        """The person's decision: a code for the scopes left checked, or ``access_denied``."""
        try:
            form = await read_form(request)
            decision, form_token = form.require("decision"), form.require("form_token")
            account, chosen = person(form.get("account")), form.all("scope")
        except OAuthError as error:
            raise PageError("This form can't be read", error.description) from None
        pending = self._pending.pop(form_token, None)
        if pending is None or self._provider.clock() >= pending.expires_at:
            raise PageError(
                "This request is over",
                "It was already answered, or waited too long. Start again from the app.",
            )
        if decision == "deny":
            return self._redirect(pending.to, {"error": "access_denied"})
        if decision != "allow" or account is None or not set(chosen) <= set(pending.scopes):
            raise PageError("This form was altered", "It answers something that was not asked.")
        if not chosen:
            return self._redirect(pending.to, {"error": "access_denied"})
        return self._allow(pending, account, tuple(scope for scope in pending.scopes if scope in chosen))

    def _return_address(self, parameters: Parameters) -> ReturnAddress:
        """Who asks and where to answer; raises :class:`PageError`, since nothing may be redirected yet."""
        try:
            client = self._provider.clients.get(parameters.require("client_id"))
            redirect_uri = parameters.require("redirect_uri")
        except OAuthError as error:
            raise PageError("The app's request is incomplete", error.description) from None
        if client is None:
            raise PageError("Unknown app", "No app with this client_id is registered here.")
        if not client.may_redirect_to(redirect_uri):
            raise PageError("Wrong return address", "This redirect_uri is not registered for the app.")
        try:
            state = parameters.get("state")
        except OAuthError:
            state = None
        return ReturnAddress(client.client_id, redirect_uri, state)

    def _read(self, parameters: Parameters, to: ReturnAddress) -> Pending:
        """The rest of the request; raises the errors that RFC 6749 §4.1.2.1 sends by redirect."""
        parameters.refuse_repeated()
        if parameters.require("response_type") != "code":
            raise OAuthError("unsupported_response_type", "only code")
        challenge = parameters.require("code_challenge")
        if parameters.get("code_challenge_method") != "S256" or not _S256_CHALLENGE.fullmatch(challenge):
            raise OAuthError("invalid_request", "code_challenge: must be an S256 challenge (RFC 7636)")
        scopes = tuple(dict.fromkeys((parameters.get("scope") or "").split())) or DEFAULT_SCOPES
        if unknown := unknown_scopes(scopes):
            raise OAuthError("invalid_scope", f"unknown: {' '.join(unknown)}")
        return Pending(to, scopes, challenge, self._provider.clock() + _PENDING_TTL)

    def _remember(self, pending: Pending) -> str:
        # All live equally long, so what has expired stands at the front.
        now = self._provider.clock()
        while self._pending and next(iter(self._pending.values())).expires_at <= now:
            del self._pending[next(iter(self._pending))]
        form_token = secrets.token_urlsafe(32)
        self._pending[form_token] = pending
        return form_token

    def _allow(self, pending: Pending, account: Account, scopes: tuple[str, ...]) -> Response:
        code = self._provider.grants.new_code(
            Grant(pending.to.client_id, account, scopes),
            redirect_uri=pending.to.redirect_uri,
            challenge=pending.challenge,
            behaviour=self._provider.behaviour,
        )
        return self._redirect(pending.to, {"code": code})

    def _redirect(self, to: ReturnAddress, answer: Mapping[str, str]) -> Response:
        state = {"state": to.state} if to.state is not None else {}
        query = urlencode({**answer, **state, "iss": self._provider.issuer})
        separator = "&" if "?" in to.redirect_uri else "?"
        # 303, so that the browser never repeats the consent form's body to the app (RFC 9700 §4.12).
        return RedirectResponse(f"{to.redirect_uri}{separator}{query}", status_code=303, headers=NO_STORE)


def _readable(query: str) -> Parameters:
    try:
        return Parameters(query)
    except OAuthError as error:
        raise PageError("The app's request can't be read", error.description) from None

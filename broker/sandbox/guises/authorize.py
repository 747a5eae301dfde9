"""The authorization endpoint of a guise: what it insists on, the consent page, the way back."""

import re
import secrets
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.sandbox.accounts import PEOPLE
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.grants import Grant
from broker.sandbox.guises.asked import check_fields
from broker.sandbox.guises.description import Authorize
from broker.sandbox.guises.guise import Consent, Guise
from broker.sandbox.guises.templates import text
from broker.sandbox.pages import PageError, page
from broker.sandbox.parameters import Parameters, read_form


async def authorize(guise: Guise, rule: Authorize, request: Request) -> Response:
    """The page, for ``GET``; the decision, for ``POST``. What is wrong with the request stays on a page of ours."""
    guise.asked["authorize"] += 1
    try:
        if request.method == "POST":
            return await _decided(guise, rule, request)
        consent = _read(guise, rule, Parameters(request.url.query))
    except OAuthError as error:
        guise.refusals.append(f"authorize: {error}")
        raise PageError("The app's request is refused", str(error)) from None
    form_token = secrets.token_urlsafe(32)
    guise.waiting[form_token] = consent
    return page(
        "consent.html",
        action=f"{guise.path}/{rule.at}",
        user_code="",
        form_token=form_token,
        client_id=guise.description.app.client_id,
        returns_to=urlsplit(consent.redirect_uri).netloc,
        scopes={scope: scope for scope in consent.scopes},
        people=PEOPLE[:1],
    )


def _read(guise: Guise, rule: Authorize, asked: Parameters) -> Consent:
    client = guise.provider.clients.get(asked.require("client_id"))
    redirect_uri = asked.require("redirect_uri")
    if client is None or not client.may_redirect_to(redirect_uri):
        raise OAuthError("invalid_request", "unknown app or return address")
    if asked.require("response_type") != "code":
        raise OAuthError("unsupported_response_type", "only code")
    check_fields(asked, rule.params)
    return Consent(redirect_uri, asked.get("state"), _scopes(rule, asked), _challenge(rule, asked))


def _scopes(rule: Authorize, asked: Parameters) -> tuple[str, ...]:
    if rule.scope_param is None:
        if asked.get("scope") is not None:
            raise OAuthError("invalid_scope", "this provider has no scopes")
        return ()
    return read_scopes(rule, asked.require(rule.scope_param))


def read_scopes(rule: Authorize, text: str) -> tuple[str, ...]:
    """The scopes that ``text`` lists, by this provider's separator."""
    scopes = tuple(dict.fromkeys(text.split(rule.scope_separator)))
    for scope in scopes:
        if not re.fullmatch(rule.scope_form, scope) or re.search(r"[,\s]", scope):
            raise OAuthError("invalid_scope", f"scopes are separated by {rule.scope_separator!r}; unknown: {scope}")
    return scopes


def _challenge(rule: Authorize, asked: Parameters) -> str:
    challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
    if challenge and rule.pkce == "refused":
        raise OAuthError("invalid_request", "PKCE is not for this kind of app")
    if challenge and method != "S256" and rule.pkce != "ignored":
        raise OAuthError("invalid_request", "code_challenge_method must be S256")
    if rule.pkce == "required" and not challenge:
        raise OAuthError("invalid_request", "code_challenge is missing")
    return challenge or "" if rule.pkce in {"required", "taken"} else ""


async def _decided(guise: Guise, rule: Authorize, request: Request) -> Response:
    form = await read_form(request)
    consent = guise.waiting.pop(form.require("form_token"), None)
    if consent is None:
        raise PageError("This request is over", "It was already answered. Start again from the app.")
    if form.require("decision") != "allow":
        return _back(guise, rule, consent, {"error": rule.denied})
    chosen = form.all("scope")
    scopes = tuple(scope for scope in consent.scopes if scope in chosen)
    guise.granted.append(scopes)
    code = guise.provider.grants.new_code(
        Grant(guise.description.app.client_id, guise.account, scopes),
        redirect_uri=consent.redirect_uri,
        challenge=consent.challenge,
        behaviour=guise.provider.behaviour,
    )
    return _back(guise, rule, consent, {"code": code})


def _back(guise: Guise, rule: Authorize, consent: Consent, answer: dict[str, str]) -> Response:
    state = {"state": consent.state} if consent.state is not None else {}
    query = urlencode({**answer, **state, **({"iss": text(rule.iss, guise.values())} if rule.iss else {})})
    return RedirectResponse(f"{consent.redirect_uri}?{query}", status_code=303, headers=NO_STORE)

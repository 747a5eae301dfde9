"""The consent page and the way back to the app."""

import re
from urllib.parse import urlencode

import httpx2
import pytest

from tests.processes import sandbox_process
from tests.sandbox.app import ALL_SCOPES, REDIRECT_URI, App, answer


def test_the_page_says_who_asks_and_for_what(app: App) -> None:
    """The page names provider, app, accounts and scopes in plain words; no scripts, no frames."""
    page = app.authorize()
    assert page.status_code == 200
    assert "<title>Practice provider</title>" in page.text
    for words in ("practice-client", "alice@practice.example", "bob@practice.example", "Read your messages"):
        assert words in page.text
    assert re.findall(r"<button[^>]*>(\w+)</button>", page.text) == ["Allow", "Deny"]
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


def test_allowing_sends_a_code_back(app: App, base_url: str) -> None:
    """Allow answers 303 with code, the state as it was given, and iss (RFC 9207)."""
    sent = answer(app.decide(app.consent_form(state="a b&c=é")))
    assert set(sent) == {"code", "state", "iss"}
    assert sent["state"] == "a b&c=é"
    assert sent["iss"] == base_url


def test_denying_sends_access_denied_back(app: App, base_url: str) -> None:
    """Deny answers with the error, state and iss, and with no code."""
    sent = answer(app.decide({**app.consent_form(), "decision": "deny"}))
    assert sent == {"error": "access_denied", "state": "st-1", "iss": base_url}


def test_without_state_none_is_made_up(app: App, base_url: str) -> None:
    """An app that sends no state gets none back."""
    assert set(answer(app.decide(app.consent_form(state=None)))) == {"code", "iss"}


def test_the_chosen_account_is_the_one_that_tokens_speak_for(app: App) -> None:
    """Choosing Bob makes whoami answer Bob."""
    sent = answer(app.decide({**app.consent_form(), "account": "bob@practice.example"}))
    tokens = app.redeem(sent["code"]).json()
    assert app.whoami(tokens["access_token"]).json()["email"] == "bob@practice.example"


def test_a_person_may_grant_less(app: App) -> None:
    """Scopes that were unchecked are not granted, and the token answer says so."""
    sent = answer(app.decide({**app.consent_form(), "scope": ["messages.read"]}))
    assert app.redeem(sent["code"]).json()["scope"] == "messages.read"


def test_granting_nothing_is_denying(app: App) -> None:
    """Allow with every scope unchecked sends access_denied, no code."""
    form = app.consent_form()
    del form["scope"]
    sent = answer(app.decide(form))
    assert sent["error"] == "access_denied"
    assert "code" not in sent


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "https://127.0.0.1/callback"},
        {"redirect_uri": "http://attacker.example/callback"},
        {"redirect_uri": "http://127.0.0.1@attacker.example/"},
        {"redirect_uri": "http://127.0.0.1\\@attacker.example/"},
        {"redirect_uri": "http://127.0.0.1.attacker.example/"},
        {"redirect_uri": "http://127.0.0.1/callback#fragment"},
        {"redirect_uri": "//127.0.0.1/callback"},
    ],
)
def test_a_wrong_client_or_address_is_never_redirected(app: App, change: dict[str, str | None]) -> None:
    """The fault is shown on a page; the browser is sent nowhere (RFC 6749 §4.1.2.1)."""
    page = app.authorize(**change)
    assert page.status_code == 400
    assert "location" not in page.headers
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_or_return_address_is_never_redirected(app: App, name: str) -> None:
    """Two values of what decides about the redirect: a page."""
    query = urlencode([*app.request().items(), (name, app.request()[name])])
    page = app.http.get(f"/authorize?{query}")
    assert page.status_code == 400
    assert "location" not in page.headers


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "profile everything"}, "invalid_scope"),
    ],
)
def test_every_other_fault_goes_back_to_the_app(
    app: App, base_url: str, change: dict[str, str | None], error: str
) -> None:
    """Error, state and iss travel by redirect; PKCE with S256 is required (RFC 7636)."""
    sent = answer(app.authorize(**change))
    assert sent["error"] == error
    assert sent["state"] == "st-1"
    assert sent["iss"] == base_url
    assert "code" not in sent


def test_a_repeated_parameter_is_refused(app: App) -> None:
    """Two states: invalid_request, and neither of them is echoed (RFC 6749 §3.1)."""
    query = urlencode([*app.request().items(), ("state", "st-2")])
    sent = answer(app.http.get(f"/authorize?{query}"))
    assert sent["error"] == "invalid_request"
    assert "state" not in sent


def test_a_decision_works_once(app: App) -> None:
    """The form token is spent by the first answer; the second gets a page and no code."""
    form = app.consent_form()
    answer(app.decide(form))
    again = app.decide(form)
    assert again.status_code == 400
    assert "location" not in again.headers


@pytest.mark.parametrize(
    "change",
    [
        {"scope": ["messages.read", "messages.write"]},
        {"account": "mallory@practice.example"},
        {"decision": "perhaps"},
        {"form_token": "guessed"},
    ],
)
def test_the_form_cannot_be_altered(app: App, change: dict[str, object]) -> None:
    """More scopes than were asked for, an unknown account or token: a page, no code."""
    page = app.decide({**app.consent_form(scope="messages.read"), **change})
    assert page.status_code == 400
    assert "location" not in page.headers


def test_parameters_in_the_form_change_nothing(app: App) -> None:
    """The request is kept on the server: a redirect_uri or state in the form is ignored."""
    form = {**app.consent_form(), "redirect_uri": "http://127.0.0.1:10/elsewhere", "state": "forged"}
    assert answer(app.decide(form))["state"] == "st-1"


def test_what_a_page_shows_is_escaped() -> None:
    """Markup in an app's name comes out as text."""
    client_id = "<b>bold</b>"
    with (
        sandbox_process("--client-id", client_id) as url,
        httpx2.Client(base_url=url, trust_env=False) as http,
    ):
        page = App(http).authorize(client_id=client_id).text
    assert "&lt;b&gt;bold&lt;/b&gt; asks for" in page
    assert client_id not in page


def test_auto_consent_skips_the_page(app: App) -> None:
    """With auto_consent the GET itself sends Alice's code for everything asked."""
    app.control(auto_consent=True)
    tokens = app.redeem(answer(app.authorize())["code"]).json()
    assert tokens["scope"] == ALL_SCOPES
    assert app.whoami(tokens["access_token"]).json()["sub"] == "usr_1001"


def test_registered_return_addresses_are_compared_exactly() -> None:
    """With --redirect-uri only that very address works, and a query of its own is kept."""
    registered = f"{REDIRECT_URI}?from=practice"
    with (
        sandbox_process("--redirect-uri", registered, "--auto-consent") as url,
        httpx2.Client(base_url=url, trust_env=False) as http,
    ):
        app = App(http)
        assert answer(app.authorize(redirect_uri=registered))["from"] == "practice"
        for other in (REDIRECT_URI, f"{registered}&x=1", registered.replace("callback", "Callback")):
            assert app.authorize(redirect_uri=other).status_code == 400

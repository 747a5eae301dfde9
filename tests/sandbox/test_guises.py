"""The practice provider in the guise of another: strict where a description says so, and shaped as it says."""

from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest

from tests.sandbox.app import CHALLENGE, CREDENTIALS, DEVICE_GRANT, REDIRECT_URI, VERIFIER, App, filled

BASE: dict[str, Any] = {
    "account": {"id": 7, "name": "Ann"},
    "authorize": {"at": "shop.test/authorize"},
    "token": {
        "at": "shop.test/token",
        "answer": {
            "access_token": "{access_token}",
            "refresh_token": "{refresh_token}",
            "expires_in": "{expires_in}",
            "scope": "{scope}",
        },
        "refresh": {"rotation": "strict"},
    },
    "whoami": {"at": "api.shop.test/me", "answer": {"body": {"id": "{account_id}", "called": "{account_name}"}}},
    "api": {"at": "api.shop.test"},
}


class Guised:
    """An app at the provider in a guise."""

    def __init__(self, app: App, **parts: Any) -> None:
        self.http = app.http
        description = {**BASE, **parts}
        self.http.put("/control/guises/shop", json=description).raise_for_status()

    def seen(self) -> Any:
        """What the guise tells of itself."""
        return self.http.get("/control/guises/shop").raise_for_status().json()

    def ask(self, **changes: str | None) -> httpx2.Response:
        """An authorization request, with changes."""
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": CREDENTIALS[0],
            "redirect_uri": REDIRECT_URI,
            "scope": "read write",
            "state": "st-1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return self.http.get("/as/shop/shop.test/authorize", params=given)

    def decided(self, decision: str = "allow", **changes: str | None) -> dict[str, str]:
        """What comes back with the browser."""
        page = self.ask(**changes)
        assert page.status_code == 200, page.text
        form = {**filled(page.text), "decision": decision}
        back = self.http.post("/as/shop/shop.test/authorize", data=form)
        return dict(parse_qsl(urlsplit(back.headers["location"]).query))

    def token(self, sent: dict[str, str], **options: Any) -> httpx2.Response:
        """A token request, authenticated by Basic unless ``auth`` says otherwise."""
        options = {"auth": CREDENTIALS, "data": sent, **options}
        return self.http.post("/as/shop/shop.test/token", **options)

    def redeem(self, code: str, **changes: str) -> dict[str, str]:
        """The fields of a code's redemption."""
        sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        return {**sent, "code_verifier": VERIFIER, **changes}

    def tokens(self) -> dict[str, Any]:
        """The whole way."""
        answer = self.token(self.redeem(self.decided()["code"]))
        tokens: dict[str, Any] = answer.raise_for_status().json()
        return tokens

    def me(self, token: str, **headers: str) -> httpx2.Response:
        """Whose token it is."""
        return self.http.get("/as/shop/api.shop.test/me", headers={"Authorization": f"Bearer {token}", **headers})


def part(name: str, **changes: Any) -> dict[str, Any]:
    """One part of the usual description, with changes."""
    return {name: {**BASE[name], **changes}}


def test_the_whole_way(app: App) -> None:
    """Code, tokens, refresh, whoami, API: each at the address that the description gives it."""
    shop = Guised(app)
    back = shop.decided()
    assert (back["state"], "iss" in back) == ("st-1", False)
    tokens = shop.token(shop.redeem(back["code"])).json()
    assert (tokens["expires_in"], tokens["scope"]) == (3600, "read write")
    assert shop.me(tokens["access_token"]).json() == {"id": 7, "called": "Ann"}
    again = shop.token({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}).json()
    assert again["refresh_token"] != tokens["refresh_token"]
    bearer = {"Authorization": f"Bearer {again['access_token']}"}
    called = shop.http.get("/as/shop/api.shop.test/v1/orders", headers=bearer).json()
    assert called == {"address": "api.shop.test/v1/orders", "method": "GET", "scopes": ["read", "write"]}
    assert (shop.seen()["granted"], shop.seen()["refusals"]) == ([["read", "write"]], [])


@pytest.mark.parametrize(
    ("rules", "asked"),
    [
        ({"scope_separator": ","}, {}),
        ({}, {"scope": "read,write"}),
        ({"scope_form": "read"}, {}),
        ({"scope_param": "user_scope"}, {}),
        ({"scope_param": None}, {}),
        ({"params": {"access_type": "offline"}}, {}),
        ({"params": {"audience": None}}, {}),
        ({"pkce": "required"}, {"code_challenge": None}),
        ({"pkce": "refused"}, {}),
        ({}, {"code_challenge_method": "plain"}),
        ({}, {"client_id": "another"}),
        ({}, {"redirect_uri": "https://elsewhere.test/"}),
        ({}, {"response_type": "token"}),
    ],
)
def test_an_authorization_request_that_is_not_as_described_is_refused(
    app: App, rules: dict[str, Any], asked: dict[str, str | None]
) -> None:
    """On a page of the provider's, and with the reason in what the guise tells."""
    shop = Guised(app, **part("authorize", **rules))
    assert shop.ask(**asked).status_code == 400
    assert shop.seen()["refusals"][0].startswith("authorize: ")


def test_a_no_and_the_issuer_come_back_as_described(app: App) -> None:
    """Also the provider's own word for a no."""
    shop = Guised(app, **part("authorize", iss="{origin}/shop.test", denied="user_refused"))
    back = shop.decided("deny")
    assert (back["error"], back["iss"].endswith("/as/shop/shop.test")) == ("user_refused", True)


@pytest.mark.parametrize(
    ("rules", "options"),
    [
        ({"auth": ["client_secret_post"]}, {}),
        ({"auth": ["client_secret_basic"]}, {"auth": None, "post": True}),
        ({"body": ["json"]}, {}),
        ({"headers": {"Shop-Version": None}}, {}),
        ({"headers": {"Accept": "application/json"}}, {}),
        ({"params": {"audience": "shop"}}, {}),
        ({}, {"auth": None}),
    ],
)
def test_a_token_request_that_is_not_as_described_is_refused(
    app: App, rules: dict[str, Any], options: dict[str, Any]
) -> None:
    """Authentication, encoding, headers, parameters: each is looked at before the code is."""
    shop = Guised(app, **part("token", **rules))
    sent = shop.redeem(shop.decided()["code"])
    if options.pop("post", False):
        sent |= {"client_id": CREDENTIALS[0], "client_secret": CREDENTIALS[1]}
    assert shop.token(sent, **options).status_code in {400, 401}
    assert shop.seen()["refusals"][0].startswith("token")


def test_json_is_read_where_it_is_spoken(app: App) -> None:
    """And a form no more then."""
    shop = Guised(app, **part("token", body=["json"], auth=["client_secret_post"]))
    secret = {"client_id": CREDENTIALS[0], "client_secret": CREDENTIALS[1]}
    sent = {**shop.redeem(shop.decided()["code"]), **secret}
    assert shop.token(sent, auth=None).status_code == 400
    assert shop.token({}, auth=None, data=None, json=sent).status_code == 200


def test_answers_have_the_providers_shape(app: App) -> None:
    """Members where the template has them, what isn't there left out; another one for refreshes."""
    answer = {"ok": True, "user": {"token": "{access_token}", "renew": "{refresh_token}"}, "list": "{scopes}", "n": 1}
    rule = {
        "answer": answer,
        "refresh": {
            "rotation": "none",
            "answer": {"fresh": "{access_token}", "r": "{refresh_token}", "user": {"r": "{refresh_token}"}},
        },
    }
    shop = Guised(app, **part("token", **rule, unlisted_scopes=["write"]))
    tokens = shop.tokens()
    assert (tokens["ok"], tokens["n"], tokens["list"]) == (True, 1, ["read"])
    fresh = shop.token({"grant_type": "refresh_token", "refresh_token": tokens["user"]["renew"]}).json()
    assert fresh.keys() == {"fresh"}


@pytest.mark.parametrize(("accept", "form"), [("*/*", True), ("application/json", False)])
def test_what_is_asked_for_is_spoken(app: App, accept: str, form: bool) -> None:
    """A form, unless JSON is accepted."""
    shop = Guised(app, **part("token", speaks="what_is_asked_for"))
    answer = shop.token(shop.redeem(shop.decided()["code"]), headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/x-www-form-urlencoded") is form
    assert ("access_token" in parse_qs(answer.text)) is form


def test_refusals_have_the_providers_words(app: App) -> None:
    """By what is wrong; the rest as one; and what nothing is said of as the RFC has it."""
    refusals = {
        "invalid_code": {"body": {"ok": False, "error": "bad_code"}},
        "invalid_refresh_token": {"status": 403, "body": {"error": "invalid_grant"}},
    }
    shop = Guised(app, **part("token", refusals=refusals))
    assert shop.token(shop.redeem("nonsense")).json() == {"ok": False, "error": "bad_code"}
    assert shop.token({"grant_type": "refresh_token", "refresh_token": "nonsense"}).status_code == 403
    assert shop.token({"grant_type": "password"}).json()["error"] == "unsupported_grant_type"
    shop = Guised(app, **part("token", refusals={"*": {"status": 418, "body": {"words": "{error}"}}}))
    answer = shop.token({"grant_type": "password"})
    assert (answer.status_code, answer.json()) == (418, {"words": "unsupported_grant_type"})


def test_pkce_is_checked_where_it_is_taken_and_forgotten_where_it_is_ignored(app: App) -> None:
    """A wrong verifier, and a missing one."""
    for pkce, status in (("taken", 400), ("ignored", 200)):
        shop = Guised(app, **part("authorize", pkce=pkce))
        assert shop.token(shop.redeem(shop.decided()["code"], code_verifier="x" * 43)).status_code == status
    shop = Guised(app)
    assert shop.token(shop.redeem(shop.decided(code_challenge=None)["code"], code_verifier="")).status_code == 200


@pytest.mark.parametrize(
    ("rotation", "second", "first_still_lives"),
    [("none", 200, True), ("grace", 200, True), ("strict", 400, True), ("revoke_on_reuse", 400, False)],
)
def test_refresh_tokens_rotate_as_described(app: App, rotation: str, second: int, first_still_lives: bool) -> None:
    """What a second use of one does."""
    shop = Guised(app, **part("token", refresh={"rotation": rotation, "grace": 60}))
    refresh = {"grant_type": "refresh_token", "refresh_token": shop.tokens()["refresh_token"]}
    first = shop.token(refresh).json()["access_token"]
    assert shop.token(refresh).status_code == second
    assert (shop.me(first).status_code == 200) is first_still_lives


def test_a_refresh_may_need_more_or_not_exist(app: App) -> None:
    """Its own parameters; and a provider without refresh tokens."""
    shop = Guised(app, **part("token", refresh={"params": {"scope": None}}))
    refresh = {"grant_type": "refresh_token", "refresh_token": shop.tokens()["refresh_token"]}
    assert shop.token(refresh).status_code == 400
    assert shop.token({**refresh, "scope": "read"}).json()["scope"] == "read"
    shop = Guised(app, **part("token", refresh=None))
    assert shop.token(refresh).json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(
    ("ends", "kind", "other_lives"), [("token", "refresh_token", True), ("grant", "refresh_token", False)]
)
def test_a_token_is_given_back_as_described(app: App, ends: str, kind: str, other_lives: bool) -> None:
    """Itself, or what it came from; a dead one is refused, so that nobody takes it for done."""
    rule = {"at": "shop.test/revoke", "method": "DELETE", "body": ["json"], "field": "gone", "ends": ends}
    shop = Guised(app, revoke={**rule, "answer": {"status": 204}, "refused": {"status": 404}})
    tokens = shop.tokens()
    sent: Any = {"json": {"gone": tokens[kind]}, "auth": CREDENTIALS}
    assert shop.http.request("DELETE", "/as/shop/shop.test/revoke", **sent).status_code == 204
    assert (shop.me(tokens["access_token"]).status_code == 200) is other_lives
    assert shop.http.request("DELETE", "/as/shop/shop.test/revoke", **sent).status_code == 404
    assert (shop.seen()["revoked"], shop.seen()["asked"]["revoke"]) == ([kind], 2)


def test_a_token_may_give_itself_back(app: App) -> None:
    """As bearer; a kind that isn't taken is refused."""
    rule = {"at": "shop.test/revoke", "by": "token", "takes": ["access_token"], "ends": "account"}
    shop = Guised(app, revoke=rule)
    tokens, others = shop.tokens(), shop.tokens()
    for value, status in ((tokens["refresh_token"], 400), (tokens["access_token"], 200)):
        answer = shop.http.post("/as/shop/shop.test/revoke", headers={"Authorization": f"Bearer {value}"})
        assert answer.status_code == status
    assert shop.me(others["access_token"]).status_code == 401


@pytest.mark.parametrize(
    ("credential", "headers", "query"),
    [
        ({"scheme": "bearer", "keys": ["k1"]}, {"Authorization": "Bearer k1"}, {}),
        ({"scheme": "bare", "keys": ["k1"]}, {"Authorization": "k1"}, {}),
        ({"scheme": "header", "name": "X-Key", "keys": ["k1"]}, {"X-Key": "k1"}, {}),
        ({"scheme": "query", "name": "key", "keys": ["k1"]}, {}, {"key": "k1"}),
        ({"scheme": "basic", "keys": ["ann pw"]}, {"Authorization": "Basic YW5uOnB3"}, {}),
    ],
)
def test_a_credential_counts_only_where_it_belongs(
    app: App, credential: dict[str, Any], headers: dict[str, str], query: dict[str, str]
) -> None:
    """At its place and with its word before it, and nowhere else."""
    shop = Guised(app, credential=credential)
    places: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"Authorization": "Bearer k1"}, {}),
        ({"Authorization": "k1"}, {}),
        ({"X-Key": "k1"}, {}),
        ({}, {"key": "k1"}),
        ({"Authorization": "Basic YW5uOnB3"}, {}),
        ({}, {}),
    ]
    for place in places:
        answer = shop.http.get("/as/shop/api.shop.test/me", headers=place[0], params=place[1])
        assert (answer.status_code == 200) is (place == (headers, query)), place


def test_a_whoami_insists_on_what_it_needs(app: App) -> None:
    """Parameters, headers, a scope, words in a query."""
    rules: list[dict[str, Any]] = [
        {"params": {"Action": "Who"}},
        {"headers": {"Shop-Version": None}},
        {"needs_scope": "openid"},
        {"method": "POST", "asks_for": ["viewer"]},
    ]
    for rule in rules:
        shop = Guised(app, **part("whoami", **rule))
        tokens, method = shop.tokens(), rule.get("method", "GET")
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert shop.http.request(method, "/as/shop/api.shop.test/me", headers=bearer).status_code in {400, 401}
    query = {"query": "{viewer{id}}"}
    assert shop.http.post("/as/shop/api.shop.test/me", headers=bearer, json=query).status_code == 200


def test_a_device_logs_in(app: App) -> None:
    """Codes in the provider's shape, its own words while nobody has decided, then tokens or a no."""
    rule = {"at": "shop.test/device", "answer": {"dc": "{device_code}", "uc": "{user_code}", "every": "{interval}"}}
    wait = {"authorization_pending": {"body": {"error": "not_yet"}}, "access_denied": {"body": {"error": "said_no"}}}
    shop = Guised(app, device=rule, **part("token", refusals=wait))
    for order, expected in (("approve_device", None), ("deny_device", "said_no")):
        codes = shop.http.post("/as/shop/shop.test/device", data={"client_id": CREDENTIALS[0], "scope": "read"}).json()
        assert codes["every"] == 5
        poll = {"grant_type": DEVICE_GRANT, "device_code": codes["dc"], "client_id": CREDENTIALS[0]}
        assert shop.token(poll, auth=None).json()["error"] == "not_yet"
        shop.http.post("/control/guises/shop", json={order: codes["uc"]}).raise_for_status()
        assert shop.token(poll, auth=None).json().get("error") == expected


def test_what_people_allowed_can_be_over(app: App) -> None:
    """By order; the refresh token is dead then, and the access token."""
    shop = Guised(app)
    tokens = shop.tokens()
    shop.http.post("/control/guises/shop", json={"end_grants": True}).raise_for_status()
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert shop.token(refresh).json()["error"] == "invalid_grant"
    assert shop.me(tokens["access_token"]).status_code == 401


def test_guises_know_nothing_of_each_other(app: App) -> None:
    """Nor of the practice provider itself; a new description forgets what was."""
    shop = Guised(app)
    token = shop.tokens()["access_token"]
    shop.http.put("/control/guises/other", json=BASE).raise_for_status()
    bearer = {"Authorization": f"Bearer {token}"}
    assert shop.http.get("/as/other/api.shop.test/me", headers=bearer).status_code == 401
    assert shop.http.get("/whoami", headers=bearer).status_code == 401
    assert Guised(app).me(token).status_code == 401


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ({"tokens": {}}, "tokens"),
        ({"token": {"at": "shop.test/token"}}, "token.answer"),
        ({"api": {"at": 1}}, "api.at"),
    ],
)
def test_a_description_that_cannot_be_played_is_refused(app: App, description: dict[str, Any], named: str) -> None:
    """Its key is named."""
    answer = app.http.put("/control/guises/shop", json=description)
    assert (answer.status_code, named in answer.json()["error_description"]) == (400, True)


@pytest.mark.parametrize(
    "order", [{}, {"end_grants": False}, {"approve_device": "NOBODY"}, {"end_grants": True, "x": 1}]
)
def test_an_order_that_makes_no_sense_is_refused(app: App, order: dict[str, Any]) -> None:
    """Nothing happens."""
    shop = Guised(app)
    tokens = shop.tokens()
    assert shop.http.post("/control/guises/shop", json=order).status_code == 400
    assert shop.me(tokens["access_token"]).status_code == 200


def test_pages_of_other_sites_can_change_nothing(app: App) -> None:
    """A body that isn't JSON, or isn't declared so, is refused; a guise that isn't there answers 404."""
    plain = {"Content-Type": "text/plain"}
    assert app.http.put("/control/guises/shop", content="{}", headers=plain).status_code == 415
    Guised(app)
    declared = {"Content-Type": "application/json"}
    for call in (app.http.put, app.http.post):
        assert call("/control/guises/shop", content="{", headers=declared).status_code == 400
    assert app.http.get("/control/guises/nobody").status_code == 404
    assert app.http.get("/as/nobody/api.shop.test/me").status_code == 404

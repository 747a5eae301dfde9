"""The device grant of the practice provider (RFC 8628): codes, polls in every state, and the person's page."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from broker.sandbox import devices
from broker.sandbox.behaviour import Behaviour
from broker.sandbox.devices import Devices
from broker.sandbox.errors import OAuthError
from tests.processes import sandbox_process
from tests.sandbox.app import ALL_SCOPES, CREDENTIALS, DEVICE_GRANT, App


def refused(response: httpx2.Response) -> str:
    """The error code of a 400."""
    assert response.status_code == 400
    assert response.headers["cache-control"] == "no-store"
    return str(response.json()["error"])


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def state_of(store: Devices, code: str) -> str:
    """What a poll of the app answers."""
    try:
        store.poll(code, client_id="app")
    except OAuthError as error:
        return error.error
    return "granted"


@pytest.fixture(scope="module")
def without() -> Iterator[App]:
    """A practice provider that has no device grant."""
    with (
        sandbox_process("--without-device-grant") as url,
        httpx2.Client(base_url=url, trust_env=False) as http,
    ):
        yield App(http)


def test_a_device_gets_codes(app: App, base_url: str) -> None:
    """Every member of RFC 8628 §3.2, not to be cached; a user code of eight consonants (§6.1)."""
    response = app.begin_device()
    assert response.headers["cache-control"] == "no-store"
    codes = response.json()
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", codes["user_code"])
    assert codes == {
        "device_code": codes["device_code"],
        "user_code": codes["user_code"],
        "verification_uri": f"{base_url}/device",
        "verification_uri_complete": f"{base_url}/device?user_code={codes['user_code']}",
        "expires_in": 900,
        "interval": 5,
    }
    assert app.device()["user_code"] != codes["user_code"]


def test_the_answer_is_as_told(app: App, base_url: str) -> None:
    """The older name, no complete address, other times."""
    app.control(verification_uri_name="verification_url", device_interval=2, device_code_ttl=30)
    codes = app.device()
    assert codes["verification_url"] == f"{base_url}/device"
    assert codes["verification_url_complete"].startswith(codes["verification_url"])
    assert (codes["interval"], codes["expires_in"]) == (2, 30)
    app.control(device_complete_uri=False)
    assert app.device().keys() == {"device_code", "user_code", "verification_url", "expires_in", "interval"}


def test_the_client_authenticates(app: App) -> None:
    """As at the token endpoint, by either method (RFC 8628 §3.1)."""
    assert app.begin_device(auth=(CREDENTIALS[0], "wrong")).status_code == 401
    by_post = {"client_id": CREDENTIALS[0], "client_secret": CREDENTIALS[1]}
    assert app.http.post("/device_authorization", data=by_post).status_code == 200
    assert app.http.post("/device_authorization", data={"client_id": CREDENTIALS[0]}).status_code == 401
    assert app.counters()["device_authorization"] == 3


@pytest.mark.parametrize("scope", ["profile everything", "messages.write"])
def test_a_device_may_not_ask_for_everything(app: App, scope: str) -> None:
    """Unknown scopes, and those that devices don't get."""
    app.control(device_scopes=["profile", "messages.read"])
    assert refused(app.begin_device(scope)) == "invalid_scope"
    assert app.begin_device("messages.read profile").status_code == 200
    assert app.begin_device("").status_code == 200


def test_a_device_is_allowed_by_its_person(app: App) -> None:
    """Pending, then tokens for whom and what the person chose, once."""  # D2
    codes = app.device()
    assert refused(app.poll(codes["device_code"])) == "authorization_pending"
    form = {**app.device_form(codes["user_code"]), "account": "bob@practice.example", "scope": ["profile"]}
    page = app.decide_device(form)
    assert "Your device is connected" in page.text
    tokens = app.poll(codes["device_code"]).json()
    assert tokens["scope"] == "profile"
    assert app.whoami(tokens["access_token"]).json()["email"] == "bob@practice.example"
    assert app.refresh(tokens["refresh_token"]).status_code == 200
    assert refused(app.poll(codes["device_code"])) == "invalid_grant"
    polls = {"ok": 1, "pending": 1, "slow_down": 0, "denied": 0, "expired": 0, "error": 1}
    assert app.counters()["device_polls"] == polls


@pytest.mark.parametrize("change", [{"decision": "deny"}, {"scope": []}])
def test_a_device_is_denied_by_its_person(app: App, change: dict[str, object]) -> None:
    """By the button, or by leaving nothing checked."""  # D2
    codes = app.device()
    page = app.decide_device({**app.device_form(codes["user_code"]), **change})
    assert (page.status_code, "Access was denied" in page.text) == (200, True)
    assert [refused(app.poll(codes["device_code"])) for _ in range(2)] == ["access_denied"] * 2
    assert app.counters()["device_polls"]["denied"] == 2


def test_a_code_ends(app: App) -> None:
    """By the provider's own clock: polls say so, and the page doesn't know it any more."""  # D2
    codes = app.device()
    app.control(clock_ahead=900)
    assert refused(app.poll(codes["device_code"])) == "expired_token"
    assert app.http.get("/device", params={"user_code": codes["user_code"]}).status_code == 400
    assert app.counters()["device_polls"]["expired"] == 1


def test_who_polls_too_soon_is_slowed_down() -> None:
    """By five seconds each time, for good; the first poll is never too soon, each counts from the one before."""  # D2
    clock, noticed = Clock(), list[float]()
    store = Devices(clock, early=lambda: noticed.append(clock.now))
    code, attempt = store.start("app", ("profile",), Behaviour())
    said = []
    for seconds in (0, 5, 4.9, 9.9, 14.9, 20, 19.9):
        clock.now += seconds
        said.append(state_of(store, code))
    pending, slow_down = "authorization_pending", "slow_down"
    assert said == [pending, pending, slow_down, slow_down, slow_down, pending, slow_down]
    assert (attempt.interval, len(noticed)) == (25, 4)


def test_the_counters_see_early_polls(app: App) -> None:
    """Also those that bring tokens: whoever allowed it doesn't make the machine wait."""
    codes = app.device()
    assert refused(app.poll(codes["device_code"])) == "authorization_pending"
    assert refused(app.poll(codes["device_code"])) == "slow_down"
    app.control(approve_device=codes["user_code"])
    assert app.poll(codes["device_code"]).status_code == 200
    counters = app.counters()
    assert counters["early_polls"] == 2
    assert counters["device_polls"]["slow_down"] == 1
    assert counters["token"][DEVICE_GRANT] == {"ok": 1, "error": 2}


def test_many_polls_at_once_give_tokens_once(app: App) -> None:
    """Of twenty one succeeds."""  # D3
    codes = app.device()
    app.control(approve_device=codes["user_code"])
    with ThreadPoolExecutor(20) as pool:
        statuses = [response.status_code for response in pool.map(app.poll, [codes["device_code"]] * 20)]
    assert sorted(statuses) == [200] + [400] * 19


def test_another_apps_code_is_unknown() -> None:
    """It is nobody else's, and the attempt goes on."""  # D4
    store = Devices(Clock(), early=lambda: None)
    code, _ = store.start("app", ("profile",), Behaviour())
    with pytest.raises(OAuthError, match="invalid_grant"):
        store.poll(code, client_id="other")
    assert state_of(store, code) == "authorization_pending"
    assert state_of(store, "pdc_unknown") == "invalid_grant"


def test_old_attempts_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many begin, only so many are kept."""  # F8
    monkeypatch.setattr(devices, "_MOST", 3)
    store = Devices(Clock(), early=lambda: None)
    started = [store.start("app", ("profile",), Behaviour()) for _ in range(5)]
    said = [state_of(store, code) for code, _ in started]
    assert said == ["invalid_grant"] * 2 + ["authorization_pending"] * 3
    assert [store.waiting(attempt.user_code) is not None for _, attempt in started] == [False] * 2 + [True] * 3


def test_control_decides_in_a_persons_stead(app: App) -> None:
    """As Alice and with all that was asked for, or not at all; a code is decided once."""
    allowed, denied = app.device(), app.device()
    app.control(approve_device=allowed["user_code"], deny_device=denied["user_code"])
    tokens = app.poll(allowed["device_code"]).json()
    assert tokens["scope"] == ALL_SCOPES
    assert app.whoami(tokens["access_token"]).json()["sub"] == "usr_1001"
    assert refused(app.poll(denied["device_code"])) == "access_denied"
    again = app.http.post("/control", json={"approve_device": denied["user_code"], "code_ttl": 5})
    assert (again.status_code, "approve_device" in again.text) == (400, True)
    assert app.http.post("/control", json={}).json()["code_ttl"] == 600


def test_the_page_takes_a_code_and_says_who_asks(app: App) -> None:
    """First a field for the code; then app, code, accounts and scopes, with two buttons alike."""  # D5
    codes = app.device("messages.read")
    empty = app.http.get("/device")
    assert 'name="user_code"' in empty.text
    complete = urlsplit(codes["verification_uri_complete"])
    assert parse_qs(complete.query) == {"user_code": [codes["user_code"]]}
    page = app.http.get(f"{complete.path}?{complete.query}")
    for words in ("practice-client", codes["user_code"], "alice@practice.example", "Read your messages"):
        assert words in page.text
    assert "Send messages" not in page.text
    assert re.findall(r"<button[^>]*>(\w+)</button>", page.text) == ["Allow", "Deny"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert refused(app.poll(codes["device_code"])) == "authorization_pending"


@pytest.mark.parametrize(
    "spelling", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:2]} {code[2:]}."]
)
def test_a_code_is_found_however_it_is_typed(app: App, spelling: object) -> None:
    """Case and punctuation don't matter (RFC 8628 §6.1)."""
    assert callable(spelling)
    code = app.device()["user_code"]
    assert app.device_form(spelling(code))["user_code"] == code


@pytest.mark.parametrize("typed", ["BBBB-BBBB", "nonsense", "é", "-"])
def test_an_unknown_code_is_asked_for_again(app: App, typed: str) -> None:
    """The field once more, and what is wrong."""
    page = app.http.get("/device", params={"user_code": typed})
    assert (page.status_code, 'role="alert"' in page.text, 'name="user_code"' in page.text) == (400, True, True)


@pytest.mark.parametrize(
    "change",
    [
        {"scope": ["messages.read", "messages.write"]},
        {"account": "mallory@practice.example"},
        {"decision": "perhaps"},
        {"form_token": "guessed"},
        {"user_code": "BBBB-BBBB"},
    ],
)
def test_the_devices_form_cannot_be_altered(app: App, change: dict[str, object]) -> None:
    """A page, and the device still waits."""
    codes = app.device("messages.read")
    page = app.decide_device({**app.device_form(codes["user_code"]), **change})
    assert page.status_code == 400
    assert refused(app.poll(codes["device_code"])) == "authorization_pending"


def test_nothing_is_decided_without_the_page(app: App) -> None:
    """Another site's form has no token, not even an empty one that fits."""
    codes = app.device()
    forged = {"user_code": codes["user_code"], "decision": "allow", "account": "alice@practice.example"}
    assert app.decide_device({**forged, "form_token": "x", "scope": ["profile"]}).status_code == 400
    assert refused(app.poll(codes["device_code"])) == "authorization_pending"


def test_faults_hit_polls_like_other_token_requests(app: App) -> None:
    """Before the work nothing is spent; after it the tokens are lost, and the counters know both."""
    codes = app.device()
    app.control(approve_device=codes["user_code"], token_fault="status_500", faults_left=1)
    assert app.poll(codes["device_code"]).status_code == 500
    app.control(token_fault="status_500", fault_when="after", faults_left=1)
    assert app.poll(codes["device_code"]).status_code == 500
    assert refused(app.poll(codes["device_code"])) == "invalid_grant"
    assert app.counters()["device_polls"] == {
        "ok": 1,
        "pending": 0,
        "slow_down": 0,
        "denied": 0,
        "expired": 0,
        "error": 2,
    }


def test_a_provider_without_it_has_nothing_of_it(without: App) -> None:
    """Neither endpoint nor page, not in the metadata, and polls are of no known grant."""
    assert without.begin_device().status_code == 404
    assert without.http.get("/device").status_code == 404
    assert without.decide_device({}).status_code == 404
    metadata = without.http.get("/.well-known/oauth-authorization-server").json()
    assert "device_authorization_endpoint" not in metadata
    assert DEVICE_GRANT not in metadata["grant_types_supported"]
    assert refused(without.poll("pdc_any")) == "unsupported_grant_type"
    without.control(device_grant=True)
    assert without.begin_device().status_code == 200


def test_metadata_names_the_device_grant(app: App, base_url: str) -> None:
    """Endpoint and grant type (RFC 8628 §4)."""
    metadata = app.http.get("/.well-known/oauth-authorization-server").json()
    assert metadata["device_authorization_endpoint"] == f"{base_url}/device_authorization"
    assert DEVICE_GRANT in metadata["grant_types_supported"]

"""Faults, odd answers and held requests at the token endpoint, as a client on the wire sees them."""

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest

from broker.sandbox.behaviour import Fault
from tests.sandbox.app import CREDENTIALS, App
from tests.waiting import until

MACHINE = {"grant_type": "client_credentials"}
PATIENCE = 60
SILENT = ("hang", "cut", "trickle")
ENDLESS = ("huge", "gzip_bomb")


def refreshed(app: App) -> tuple[int, int]:
    """Refreshes that issued tokens, and others."""
    counted = app.counters()["token"]["refresh_token"]
    return counted["ok"], counted["error"]


@contextmanager
def in_the_background(ask: Callable[[], httpx2.Response], times: int = 1) -> Iterator[list[Future[httpx2.Response]]]:
    """``ask``, by others, while the block runs."""
    with ThreadPoolExecutor(times) as pool:
        yield [pool.submit(ask) for _ in range(times)]


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("status_500", 500, "something broke"),
        ("status_503", 503, "out of service"),
        ("busy", 429, "slow_down"),
        ("html", 200, "<h1>"),
        ("array", 200, '[{"access_token": "pat_of-no-grant"'),
        ("ok_false", 200, '{"ok": false}'),
        ("no_access_token", 200, '{"token_type": "Bearer"'),
        ("token_with_400", 400, '{"access_token": "pat_of-no-grant"'),
        ("invalid_grant", 400, "invalid_grant"),
        ("invalid_client", 401, "invalid_client"),
    ],
)
def test_a_fault_before_the_work_leaves_the_refresh_token(app: App, fault: str, status: int, text: str) -> None:
    """The answer is the fault's, nothing was rotated, and what it shows of tokens is no token."""
    app.control(rotation="strict")
    tokens = app.connect()
    app.control(token_fault=fault, reset_counters=True)
    answer = app.refresh(tokens["refresh_token"])
    assert answer.status_code == status
    assert text in answer.text
    assert "retry-after" not in answer.headers
    assert refreshed(app) == (0, 1)
    app.control(token_fault="none")
    assert app.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in (*SILENT, *ENDLESS, "none")])
def test_a_fault_after_the_work_loses_what_was_rotated(app: App, fault: Fault) -> None:
    """The counters say that tokens were issued, and the old refresh token is used up."""
    app.control(rotation="strict")
    tokens = app.connect()
    app.control(token_fault=fault, fault_when="after", faults_left=1, reset_counters=True)
    app.refresh(tokens["refresh_token"])
    assert refreshed(app) == (1, 0)
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", ["hang", "cut"])
def test_no_answer_at_all(app: App, fault: str, when: str) -> None:
    """The caller gives up, or finds the connection closed; the provider goes on serving others."""
    app.control(rotation="strict")
    tokens = app.connect()
    app.control(token_fault=fault, fault_when=when, faults_left=1, reset_counters=True)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    expected = httpx2.ReadTimeout if fault == "hang" else httpx2.RemoteProtocolError
    with pytest.raises((expected, httpx2.ReadError)):
        app.http.post("/token", data=form, auth=CREDENTIALS, timeout=0.3 if fault == "hang" else PATIENCE)
    until(lambda: refreshed(app) == ((1, 0) if when == "after" else (0, 1)))
    assert app.token(MACHINE).status_code == 200
    assert app.refresh(tokens["refresh_token"]).status_code == (400 if when == "after" else 200)


def test_a_trickle_has_a_head_and_no_end(app: App) -> None:
    """Status and type are there at once, then blanks, one at a time."""
    app.control(token_fault="trickle", faults_left=1)
    with app.http.stream("POST", "/token", data=MACHINE, auth=CREDENTIALS) as answer:
        assert answer.status_code == 200
        assert next(answer.iter_raw()) == b" "


def test_a_huge_body_is_good_json_in_the_end(app: App) -> None:
    """Who reads 50 MB to their end finds a token: only a limit tells such an answer apart."""
    app.control(token_fault="huge", fault_when="after", faults_left=1)
    body = app.token(MACHINE).content
    assert len(body) > 50 * 1024 * 1024
    assert app.whoami(json.loads(body)["access_token"]).status_code == 200


def test_a_gzip_bomb_is_small_on_the_wire(app: App) -> None:
    """A thousandth of what it unpacks to; the token is in it all the same."""
    app.control(token_fault="gzip_bomb", fault_when="after", faults_left=1)
    with app.http.stream("POST", "/token", data=MACHINE, auth=CREDENTIALS) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 100_000
    unpacked = gzip.decompress(packed)
    assert len(unpacked) > 50 * 1024 * 1024
    assert app.whoami(json.loads(unpacked)["access_token"]).status_code == 200


def test_a_fault_hits_as_often_as_told(app: App) -> None:
    """Two requests, then everything is well and the knobs say so; 0 hits nobody."""
    app.control(token_fault="status_503", faults_left=2, retry_after=7)
    answers = [app.token(MACHINE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert [answer.headers.get("retry-after") for answer in answers] == ["7", "7", None]
    knobs = app.http.post("/control", json={}).json()
    assert (knobs["token_fault"], knobs["faults_left"]) == ("none", None)
    app.control(token_fault="busy", faults_left=0)
    assert app.token(MACHINE).status_code == 200
    app.control(faults_left=1)
    assert app.token(MACHINE).headers["retry-after"] == "7"


def test_the_api_has_faults_of_its_own(app: App) -> None:
    """``/whoami`` and ``/api`` fail while ``/token`` works."""
    tokens = app.connect()
    app.control(api_fault="busy", retry_after=3)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    answers = [app.http.get("/api/messages", headers=headers), app.whoami(tokens["access_token"])]
    answers.append(app.http.post("/api/messages", json={"text": "hello"}, headers=headers))
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {(429, "3")}
    assert app.refresh(tokens["refresh_token"]).status_code == 200
    app.control(api_fault="none")
    assert app.whoami(tokens["access_token"]).status_code == 200
    assert len(app.http.get("/api/messages", headers=headers).json()["messages"]) == 3


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (0, "0"),
        (-5, "-5"),
        ("abc", '"abc"'),
        ("3600.5", '"3600.5"'),
        ({}, "{}"),
        ({"json": "1e400"}, "1e400"),
        ({"json": "NaN"}, "NaN"),
        ({"json": "null"}, "null"),
    ],
)
def test_any_life_time_can_be_told(app: App, told: object, text: str) -> None:
    """The value stands in the answer as it was given; the token lives as long as ever."""
    app.control(expires_in=told)  # P4
    answer = app.token(MACHINE)
    assert f'"expires_in": {text},' in answer.text
    assert app.whoami(answer.json()["access_token"]).status_code == 200


def test_a_life_time_can_be_left_out(app: App) -> None:
    """``absent`` is not a value."""
    app.control(expires_in="absent")  # P4
    assert app.token(MACHINE).json().keys() == {"access_token", "token_type", "scope"}


@pytest.mark.parametrize(("form", "shown"), [("absent", {}), ("empty", {"refresh_token": ""})])
@pytest.mark.parametrize("rotation", ["none", "strict"])
def test_a_refresh_token_can_be_shown_oddly(app: App, form: str, shown: dict[str, str], rotation: str) -> None:
    """Left out or empty, whether or not there is a new one."""
    tokens = app.connect()
    app.control(refresh_token_form=form, rotation=rotation)  # P5
    body = app.refresh(tokens["refresh_token"]).json()
    assert {name: value for name, value in body.items() if name == "refresh_token"} == shown


def test_a_refresh_token_can_be_null(app: App) -> None:
    """The member is there, and says nothing."""
    app.control(refresh_token_form="null")  # P5
    body = app.connect()
    assert body["refresh_token"] is None


def test_a_provider_can_grant_less_than_it_was_asked_for(app: App) -> None:
    """The answer says so, and the API keeps to it; later the whole grant is back."""
    tokens = app.connect(scope="profile messages.read")
    app.control(granted_scopes=["profile"])  # P6
    less = app.refresh(tokens["refresh_token"]).json()
    assert less["scope"] == "profile"
    messages = app.http.get("/api/messages", headers={"Authorization": f"Bearer {less['access_token']}"})
    assert messages.status_code == 403
    app.control(granted_scopes=None)
    assert app.refresh(tokens["refresh_token"]).json()["scope"] == "profile messages.read"


def test_held_answers_wait_and_the_work_is_done(app: App) -> None:
    """The counters show the rotation while nobody has an answer; then everybody gets theirs."""
    app.control(rotation="grace")
    old = app.connect()["refresh_token"]
    app.control(hold_token_answers=True, reset_counters=True)
    with in_the_background(lambda: app.refresh(old), times=3) as waiting:
        until(lambda: app.counters()["token_waiting"] == 3)
        assert refreshed(app) == (3, 0)
        assert not any(each.done() for each in waiting)
        app.control(hold_token_answers=False)
        answers = [each.result(PATIENCE).json()["refresh_token"] for each in waiting]
    assert len(set(answers)) == 3
    counters = app.counters()
    assert (counters["token_waiting"], counters["token_most_at_once"]) == (0, 3)


def test_held_requests_wait_before_the_work(app: App) -> None:
    """Nothing is counted while they wait; a caller that left meanwhile is served no less."""
    app.control(rotation="strict")
    old = app.connect()["refresh_token"]
    app.control(hold_token_requests=True, reset_counters=True)
    form = {"grant_type": "refresh_token", "refresh_token": old}
    with pytest.raises(httpx2.ReadTimeout):
        app.http.post("/token", data=form, auth=CREDENTIALS, timeout=0.3)
    until(lambda: app.counters()["token_waiting"] == 1)
    assert refreshed(app) == (0, 0)
    app.control(hold_token_requests=False)
    until(lambda: refreshed(app) == (1, 0))
    assert app.refresh(old).json()["error"] == "invalid_grant"


def test_the_high_water_mark_starts_again_with_the_counters(app: App) -> None:
    """It is that of the time since; a request at a time makes it one."""
    app.control(hold_token_answers=True)
    with in_the_background(lambda: app.token(MACHINE), times=2):
        until(lambda: app.counters()["token_most_at_once"] == 2)
        app.control(hold_token_answers=False)
    app.control(reset_counters=True)
    assert app.counters()["token_most_at_once"] == 0
    app.token(MACHINE)
    assert app.counters()["token_most_at_once"] == 1


def test_a_reset_lets_go_what_is_held_and_ends_every_fault(app: App) -> None:
    """Afterwards the provider is as it was when it started."""
    app.control(hold_token_answers=True, access_token_ttl=5, expires_in="abc", granted_scopes=[], idle_expiry=9)
    with in_the_background(lambda: app.token(MACHINE)) as waiting:
        until(lambda: app.counters()["token_waiting"] == 1)
        app.control(reset=True)
        assert waiting[0].result(PATIENCE).status_code == 200
    assert app.token(MACHINE).json()["expires_in"] == 3600
    assert app.connect()["scope"].startswith("profile messages.read")


def test_grants_are_minted_by_the_thousand(app: App) -> None:
    """All different, all good, and they end with the rest."""
    minted = app.http.post("/control/grants", json={"count": 1000}).json()
    assert len({tokens["refresh_token"] for tokens in minted}) == 1000
    assert app.whoami(minted[500]["access_token"]).json()["sub"] == "usr_1001"
    assert app.refresh(minted[999]["refresh_token"]).status_code == 200
    app.control(revoke_grants=True)
    assert app.refresh(minted[0]["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("count", [-1, True, "3", None, 100_001])
def test_how_many_grants_must_be_a_number(app: App, count: object) -> None:
    """400, naming the member."""
    answer = app.http.post("/control/grants", json={"count": count})
    assert answer.status_code == 400
    assert "count" in answer.json()["error_description"]

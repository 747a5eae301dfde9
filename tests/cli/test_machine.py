"""Tests of :mod:`broker.cli.machine`: a login's tokens are renewed in time, once, and never lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from broker.cli.credentials import Credentials, Login, Tokens
from broker.cli.faults import NotLoggedIn
from broker.cli.machine import Machine
from broker.cli.os_keyring import OsKeyring
from broker.cli.remote import Registration, RemoteBroker, connected
from broker.errors import BrokerError, BrokerUnreachable, ConfigurationError
from tests.cli.stub import CUT, Answer, Stub, stub_broker

NOW = 1_000_000.0
CALL = "/v1/connections/con_1"
TOKEN = "/oauth/token"
REVOKE = "/oauth/revoke"
OVER: Answer = (400, {"error": "invalid_grant"})
REFUSED: Answer = (401, {"detail": "no"})


def renewal(number: int) -> Answer:
    """The answer to a refresh."""
    return 200, {"access_token": f"bat_{number}", "refresh_token": f"brt_{number}", "expires_in": 900}


class Desk:
    """A machine that is logged in, at a broker that answers as told."""

    def __init__(self, stub: Stub, folder: Path) -> None:
        self.stub = stub
        self.folder = folder
        self.login = Login(stub.url, "practice", "con_1", "cl_1", confidential=False, scope="", logged_in_at=NOW)
        self.credentials.keep(self.login, Tokens("brt_1", "bat_1", NOW + 900))

    @property
    def credentials(self) -> Credentials:
        """As every process finds them."""
        return Credentials(self.folder, OsKeyring(lambda: None))

    def call(self, *, after: float = 0, configured: Registration | None = None) -> dict[str, object]:
        """Look at the connection, ``after`` so many seconds."""
        with connected(self.stub.url) as http:
            return self.machine(RemoteBroker(http, self.stub.url), after, configured).connection(self.login)

    def machine(self, broker: RemoteBroker, after: float = 0, configured: Registration | None = None) -> Machine:
        """A process on this machine."""
        return Machine(broker, self.credentials, configured, now=lambda: NOW + after, sleep=lambda _: None)

    def log_out(self) -> None:
        """Log out."""
        with connected(self.stub.url) as http:
            self.machine(RemoteBroker(http, self.stub.url)).end(self.login)

    def presented(self) -> list[str]:
        """The broker tokens that calls were made with."""
        return [header.removeprefix("Bearer ") for path, _, header in self.stub.asked if path == CALL]

    def refreshed_with(self) -> list[str]:
        """The refresh tokens that were presented."""
        return [body["refresh_token"] for body in self.stub.bodies(TOKEN)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A machine that is logged in, with a fresh broker token."""
    with stub_broker() as stub:
        stub.answers = {CALL: [(200, {"id": "con_1"})], TOKEN: [renewal(2)], REVOKE: [(200, {})]}
        yield Desk(stub, tmp_path)


def test_a_token_that_lives_is_used_as_it_is(desk: Desk) -> None:
    """No refresh, however often."""
    desk.call()
    desk.call(after=800)
    assert (desk.presented(), desk.refreshed_with()) == (["bat_1", "bat_1"], [])


def test_a_token_that_ends_soon_is_renewed(desk: Desk) -> None:
    """As the client that logged in; both successors are kept for the next command."""
    desk.call(after=880)
    desk.call(after=880)
    assert desk.presented() == ["bat_2", "bat_2"]
    form = {"grant_type": "refresh_token", "refresh_token": "brt_1", "client_id": "cl_1"}
    assert desk.stub.bodies(TOKEN) == [form]
    assert desk.credentials.tokens(desk.login) == Tokens("brt_2", "bat_2", NOW + 880 + 900)


def test_a_renewed_token_is_kept_before_it_is_used(desk: Desk) -> None:
    """The call that it was renewed for fails: what came is on disk all the same."""
    desk.stub.answers[CALL] = [(500, {})]
    with pytest.raises(BrokerError):
        desk.call(after=900)
    kept = desk.credentials.tokens(desk.login)
    assert kept is not None
    assert kept.refresh_token == "brt_2"


def test_what_can_not_be_kept_is_not_used(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: no call is made with a token whose successor is lost."""

    def full(*_: object) -> None:
        raise ConfigurationError(["the disk is full"])

    monkeypatch.setattr(Credentials, "renew", full)
    with pytest.raises(ConfigurationError):
        desk.call(after=900)
    assert desk.presented() == []


def test_an_answer_that_was_lost_is_asked_for_again_at_once(desk: Desk) -> None:
    """With the same refresh token, which the broker forgives for a minute; three times, then it is unreachable."""
    desk.stub.answers[TOKEN] = [CUT, (503, {}), renewal(2)]
    desk.call(after=900)
    assert desk.refreshed_with() == ["brt_1", "brt_1", "brt_1"]
    desk.stub.answers[TOKEN] = [CUT]
    with pytest.raises(BrokerUnreachable):
        desk.call(after=1900)
    assert len(desk.refreshed_with()) == 6
    assert list(desk.credentials.logins()) == [desk.login]


def test_a_login_that_is_over_is_forgotten(desk: Desk) -> None:
    """It says what to type."""
    desk.stub.answers[TOKEN] = [OVER]
    with pytest.raises(NotLoggedIn, match="has ended; log in again: broker login practice"):
        desk.call(after=900)
    assert list(desk.credentials.logins()) == []
    assert desk.presented() == []


def test_a_client_that_may_not_refresh_leaves_the_login(desk: Desk) -> None:
    """Only ``invalid_grant`` says that a login is over."""
    for answer in [(401, {"error": "invalid_client"}), (400, {"error": "unauthorized_client"}), (429, {})]:
        desk.stub.answers[TOKEN] = [answer]
        with pytest.raises(BrokerError) as refused:
            desk.call(after=900)
        assert not isinstance(refused.value, NotLoggedIn)
    assert list(desk.credentials.logins()) == [desk.login]


def test_a_token_that_was_taken_back_is_renewed(desk: Desk) -> None:
    """The broker refuses it although it should live: one refresh, one more try."""
    desk.stub.answers[CALL] = [REFUSED, (200, {})]
    desk.call()
    assert desk.presented() == ["bat_1", "bat_2"]


def test_one_that_is_refused_twice_is_over(desk: Desk) -> None:
    """What was just issued is refused: there is nothing left to try."""
    desk.stub.answers[CALL] = [REFUSED]
    with pytest.raises(NotLoggedIn):
        desk.call()
    assert (desk.presented(), list(desk.credentials.logins())) == (["bat_1", "bat_2"], [])


@pytest.mark.parametrize("answer", [(404, {}), (200, {"status": "revoked"})])
def test_a_connection_that_is_gone_ends_the_login(desk: Desk, answer: Answer) -> None:
    """There is nothing behind it any more."""
    desk.stub.answers[CALL] = [answer]
    with pytest.raises(NotLoggedIn):
        desk.call()


@pytest.mark.parametrize(("status", "left"), [("reauth_required", 1), ("revoked", 0)])
def test_a_grant_that_is_gone_means_to_log_in_again(desk: Desk, status: str, left: int) -> None:
    """The provider's, or the connection: only with the latter the login is over, and forgotten."""
    desk.stub.answers[f"{CALL}/token"] = [(409, {"code": "reauth_required", "detail": "it is gone"})]
    desk.stub.answers[CALL] = [(200, {"status": status})]
    with connected(desk.stub.url) as http, pytest.raises(NotLoggedIn, match="log in again: broker login practice"):
        desk.machine(RemoteBroker(http, desk.stub.url)).fetch(desk.login)
    assert len(desk.credentials.logins()) == left


def test_who_had_to_wait_uses_what_the_other_one_got(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process renewed the login while this one waited for the lock."""
    renewing = Credentials.renewing

    @contextmanager
    def after_another(credentials: Credentials, login: Login) -> Iterator[None]:
        with renewing(credentials, login):
            credentials.renew(login, Tokens("brt_2", "bat_2", NOW + 1800))
            yield

    monkeypatch.setattr(Credentials, "renewing", after_another)
    desk.call(after=900)
    assert (desk.presented(), desk.refreshed_with()) == (["bat_2"], [])


def test_two_at_once_refresh_once(desk: Desk) -> None:
    """Whoever waited uses what the other one got."""
    threads = [Thread(target=desk.call, kwargs={"after": 900}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.refreshed_with() == ["brt_1"]
    assert desk.presented() == ["bat_2"] * 4


def test_a_client_with_a_secret_proves_itself(desk: Desk) -> None:
    """The secret isn't kept with the login; without it, or with another client's, it says whose is needed."""
    desk.login = replace(desk.login, confidential=True)
    for configured in (None, Registration("cl_other", "secret"), Registration("cl_1")):
        with pytest.raises(ConfigurationError, match="cl_1: set BROKER_CLIENT_ID"):
            desk.call(after=900, configured=configured)
    desk.call(after=900, configured=Registration("cl_1", "secret"))
    (asked,) = [(body, header) for path, body, header in desk.stub.asked if path == TOKEN]
    assert asked == ({"grant_type": "refresh_token", "refresh_token": "brt_1"}, "Basic Y2xfMTpzZWNyZXQ=")


def test_no_client_of_the_environment_is_sent_for_a_public_login(desk: Desk) -> None:
    """It belongs to the client that it was made with."""
    desk.call(after=900, configured=Registration("cl_other", "secret"))
    assert desk.stub.bodies(TOKEN)[0]["client_id"] == "cl_1"


def test_logging_out_ends_it_there_and_here(desk: Desk) -> None:
    """The refresh token is revoked as its own client; where the broker can't be told, the login stays."""
    desk.stub.answers[REVOKE] = [(503, {}), (200, {})]
    with pytest.raises(BrokerUnreachable):
        desk.log_out()
    assert list(desk.credentials.logins()) == [desk.login]
    desk.log_out()
    assert desk.stub.bodies(REVOKE)[1] == {"token": "brt_1", "client_id": "cl_1"}
    assert list(desk.credentials.logins()) == []

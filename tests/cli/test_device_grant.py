"""Tests of :mod:`broker.cli.device_grant`: polling in time that passes when told, against answers over real HTTP."""

from collections.abc import Iterator

import pytest

from broker.cli.device_grant import Invitation, Waiting, ask
from broker.cli.faults import LoginFailed
from broker.cli.remote import Registration, RemoteBroker, connected
from broker.errors import BrokerUnreachable, OAuthError, Unauthenticated
from tests.cli.stub import CUT, Answer, Stub, stub_broker

CLIENT = Registration("cl_machines")
TOKEN = "/oauth/token"
TOKENS: Answer = (200, {"access_token": "bat_1", "refresh_token": "brt_1", "expires_in": 900})


def refusal(error: str) -> Answer:
    """An answer of the token endpoint that is no token."""
    return 400, {"error": error, "error_description": f"said {error}"}


PENDING, SLOW_DOWN = refusal("authorization_pending"), refusal("slow_down")


class Machine:
    """A machine that shows a code, in a time of its own."""

    def __init__(self, stub: Stub, broker: RemoteBroker) -> None:
        self.stub = stub
        self.broker = broker
        self.now = 0.0
        self.polled_at: list[float] = []
        self.told: list[tuple[float, str]] = []

    def waits(self, *answers: Answer, expires_in: int = 900, interval: float = 5) -> dict[str, object]:
        """What waiting comes to, where polls are answered with ``answers``."""
        self.stub.answers[TOKEN] = list(answers)
        waiting = Waiting(self.broker, CLIENT, now=lambda: self.now, sleep=self._sleep)
        invitation = Invitation("dc_1", "WDJB-MJHT", "https://b.example/device", None, expires_in, interval)
        try:
            return waiting.wait(invitation, lambda left, trouble: self.told.append((left, trouble)))
        finally:
            self._look()

    def _look(self) -> None:
        self.polled_at += [self.now] * (len(self.stub.bodies(TOKEN)) - len(self.polled_at))

    def _sleep(self, seconds: float) -> None:
        self._look()
        self.now += seconds


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine, and a broker that answers as told."""
    with stub_broker() as stub, connected(stub.url) as http:
        yield Machine(stub, RemoteBroker(http, stub.url))


def test_it_polls_at_the_interval_until_the_person_has_agreed(machine: Machine) -> None:
    """The first poll comes after one interval; the answer with the tokens ends it."""  # D2
    assert machine.waits(PENDING, PENDING, TOKENS, interval=7)["access_token"] == "bat_1"
    assert machine.polled_at == [7, 14, 21]
    polled = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "dc_1"}
    assert machine.stub.bodies(TOKEN) == [{**polled, "client_id": "cl_machines"}] * 3


def test_each_slow_down_adds_five_seconds_for_good(machine: Machine) -> None:
    """RFC 8628 §3.5: also polls that are answered otherwise later come at the longer interval."""  # D2
    machine.waits(SLOW_DOWN, PENDING, SLOW_DOWN, PENDING, TOKENS)
    assert machine.polled_at == [5, 15, 25, 40, 55]


@pytest.mark.parametrize("trouble", [CUT, (500, {}), (503, {}), (429, {}), (502, {"error": "temporarily_unavailable"})])
def test_trouble_on_the_way_is_waited_out(machine: Machine, trouble: Answer) -> None:
    """Back-off grows exponentially, to a minute at most; the person sees what is wrong, and it ends when it does."""
    machine.waits(*[trouble] * 5, PENDING, TOKENS)
    assert machine.polled_at == [5, 15, 35, 75, 135, 195, 200]
    said = {trouble for _, trouble in machine.told}
    assert len(said) == 2
    assert "" in said
    assert machine.told[-1][1] == ""


def test_how_long_a_broker_wants_to_be_left_alone_is_respected(machine: Machine) -> None:
    """``Retry-After`` beats a shorter back-off."""
    machine.waits((503, {"headers": {"Retry-After": "100"}}), TOKENS)
    assert machine.polled_at == [5, 105]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("access_denied", "the login was declined: said access_denied"),
        ("expired_token", "the code has run out"),
        ("invalid_grant", "the code is no longer valid"),
    ],
)
def test_an_end_is_an_end(machine: Machine, error: str, words: str) -> None:
    """No poll follows, and the person reads why."""  # D2
    with pytest.raises(LoginFailed, match=words):
        machine.waits(PENDING, refusal(error))
    assert machine.polled_at == [5, 10]


@pytest.mark.parametrize(("answer", "last"), [(PENDING, 60), ((503, {}), 61), (CUT, 61)])
def test_it_gives_up_when_the_code_has_run_out(machine: Machine, answer: Answer, last: float) -> None:
    """Whatever is answered: not before, and a long back-off still leaves one last look just before the end."""
    with pytest.raises(LoginFailed):
        machine.waits(answer, expires_in=62)
    assert machine.now == 62
    assert machine.polled_at[-1] == last


def test_another_refusal_is_told_as_it_is(machine: Machine) -> None:
    """A client that was deleted meanwhile, or may not use the grant, is told at once."""
    with pytest.raises(OAuthError, match="said unauthorized_client"):
        machine.waits(refusal("unauthorized_client"))
    with pytest.raises(Unauthenticated):
        machine.waits((401, {"error": "invalid_client"}))


def test_the_time_left_is_told_every_second(machine: Machine) -> None:
    """So that a person sees that it lives."""
    machine.waits(TOKENS, expires_in=60, interval=3)
    assert machine.told == [(60, ""), (59, ""), (58, "")]


def test_what_is_asked_for_and_answered(machine: Machine) -> None:
    """A public client names itself in the form, another one proves itself in the header; the codes are read."""
    codes = {"device_code": "dc", "user_code": "X", "verification_uri": "https://x.example", "expires_in": 600}
    machine.stub.answers["/oauth/device_authorization"] = [(200, codes)]
    invitation = ask(machine.broker, CLIENT, {"provider": "practice"})
    assert (invitation.expires_in, invitation.interval, invitation.verification_uri_complete) == (600, 5, None)
    assert "dc" not in repr(invitation).replace("device_code", "")
    ask(machine.broker, Registration("cl_2", "secret"), {"provider": "practice"})
    (_, public, nothing), (_, confidential, header) = machine.stub.asked
    assert (public, nothing) == ({"provider": "practice", "client_id": "cl_machines"}, "")
    assert (confidential, header) == ({"provider": "practice"}, "Basic Y2xfMjpzZWNyZXQ=")


@pytest.mark.parametrize("answer", [{}, {"device_code": "x"}, {"device_code": "x", "user_code": "y"}])
def test_what_is_no_brokers_answer_is_said_to_be_none(machine: Machine, answer: dict[str, str]) -> None:
    """Something else listens there."""
    machine.stub.answers["/oauth/device_authorization"] = [(200, answer)]
    with pytest.raises(BrokerUnreachable, match="is not a broker"):
        ask(machine.broker, CLIENT, {})

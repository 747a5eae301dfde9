"""Tests of :mod:`broker.connections.completion`: one exchange, one connection, and only for the subject."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest

from broker.app.composition import app_of
from broker.app.heart import build_heart
from broker.providers import Registry
from broker.settings import Settings
from tests.journey import NOTHING, MakeClient, exchanges, session_of
from tests.world import FakeClock, Person, ServiceClient


@dataclass(frozen=True)
class Awaiting:
    """A session that a person has brought back from the provider, and its completion code."""

    app: ServiceClient
    id: str
    code: str

    async def complete(
        self, *, code: str = "", subject: str = "ann", app: ServiceClient | None = None
    ) -> httpx2.Response:
        """Complete as the app; by default with everything right."""
        return await (app or self.app).complete(self.id, code or self.code, subject)

    async def status(self) -> tuple[str, str | None]:
        """Status and error of the session."""
        seen = await session_of(self.app, self.id)
        return seen["status"], seen["error"]


@pytest.fixture
async def awaiting(make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client) -> Awaiting:
    """A session that awaits completion."""
    app = await make_client()
    opened = await app.open_session()
    return Awaiting(app, opened["id"], (await Person(http).connect(opened["connect_url"]))["completion_code"])


@pytest.fixture
async def replica(settings: Settings, providers: Registry, clock: FakeClock) -> AsyncIterator[httpx2.AsyncClient]:
    """Another process of the broker on the same store, as far as a test in one process can tell."""
    heart = build_heart(settings, providers, clock)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(heart)), base_url="http://replica") as client:
        yield client
    await heart.aclose(work_ends_within=5)


async def test_a_repeat_answers_the_same_connection(awaiting: Awaiting, sandbox: httpx2.Client) -> None:
    """The same code and subject: the same connection and a new reference; both references work, once each."""
    first, second = [(await awaiting.complete()).json() for _ in range(2)]
    assert first["connection"]["id"] == second["connection"]["id"]
    assert first["reference"] != second["reference"]
    for reference in (first["reference"], second["reference"]):
        assert (await awaiting.app.redeem(reference)).status_code == 200
        assert (await awaiting.app.redeem(reference)).status_code == 400
    assert exchanges(sandbox) == (1, 0)


async def test_a_repeat_needs_the_same_proof(awaiting: Awaiting, sandbox: httpx2.Client) -> None:
    """After the end, neither another subject nor another code learns of the connection; it stays as it is."""
    connection = (await awaiting.complete()).json()["connection"]
    assert (await awaiting.complete(subject="bob")).status_code == 403
    for _ in range(6):
        assert (await awaiting.complete(code="wrong")).status_code == 400
    assert await awaiting.status() == ("completed", None)
    assert (await awaiting.complete()).json()["connection"]["id"] == connection["id"]


async def test_many_completions_at_once(
    awaiting: Awaiting, replica: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Twenty at once, over two replicas, while the provider takes its time: one exchange, one connection."""
    sandbox.post("/control", json={"token_delay_ms": 200}).raise_for_status()
    elsewhere = ServiceClient(replica, awaiting.app.client_id, awaiting.app.secret)
    answers = await asyncio.gather(
        *(awaiting.complete(app=app) for app in (awaiting.app, elsewhere) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["connection"]["id"] for answer in answers}) == 1
    assert len({answer.json()["reference"] for answer in answers}) == 20
    assert exchanges(sandbox) == (1, 0)
    assert len((await awaiting.app.call("GET", "/v1/connections")).json()["items"]) == 1


async def test_another_subject_ends_the_session(awaiting: Awaiting, sandbox: httpx2.Client) -> None:
    """The app says that somebody else is signed in: 403, the session is over, the provider never hears of it."""
    # B5
    refused = await awaiting.complete(subject="bob")
    assert refused.status_code == 403
    assert refused.json()["code"] == "subject_mismatch"
    assert await awaiting.status() == ("failed", "subject_mismatch")
    assert (await awaiting.complete()).status_code == 409
    assert exchanges(sandbox) == NOTHING
    assert sandbox.get("/counters").json()["whoami"] == 0


@pytest.mark.parametrize("subject", ["Ann", "ann ", " ann", "a\u0061nn", "ann\u200b", "\u0430nn"])
async def test_the_subject_is_compared_as_it_is(awaiting: Awaiting, sandbox: httpx2.Client, subject: str) -> None:
    """Subjects are opaque: no case folding, no trimming, no normalization."""
    # B5
    assert (await awaiting.complete(subject=subject)).status_code == 403
    assert exchanges(sandbox) == NOTHING


async def test_of_right_and_wrong_subject_at_once(awaiting: Awaiting, sandbox: httpx2.Client) -> None:
    """Whichever comes first: either one exchange and a connection of the right subject, or none at all."""
    # B5
    answers = await asyncio.gather(
        *(awaiting.complete(subject=subject) for subject in ("ann", "bob", "ann", "bob", "ann", "bob"))
    )
    for_bob = answers[1::2]
    assert {answer.status_code for answer in for_bob} == {403}
    outcome, _ = await awaiting.status()
    connections = (await awaiting.app.call("GET", "/v1/connections")).json()["items"]
    assert [connection["subject"] for connection in connections] == (["ann"] if outcome == "completed" else [])
    assert exchanges(sandbox) == ((1, 0) if outcome == "completed" else NOTHING)


async def test_four_wrong_codes_are_forgiven(awaiting: Awaiting, sandbox: httpx2.Client) -> None:
    """A mistyped code names the field at fault, and the right one still works."""
    for wrong in ("x", awaiting.code[:-1], awaiting.code + "0", awaiting.code.swapcase()):
        refused = await awaiting.complete(code=wrong)
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["field"] == "completion_code"
        assert awaiting.code not in refused.text
    assert exchanges(sandbox) == NOTHING
    assert (await awaiting.complete()).status_code == 200


async def test_the_fifth_wrong_code_ends_the_session(awaiting: Awaiting, sandbox: httpx2.Client) -> None:
    """Then the right one comes too late."""
    for _ in range(5):
        assert (await awaiting.complete(code="BCDF-GHJK")).status_code == 400
    assert await awaiting.status() == ("failed", "too_many_wrong_codes")
    assert (await awaiting.complete()).status_code == 409
    assert exchanges(sandbox) == NOTHING


async def test_guesses_at_the_same_moment_all_count(awaiting: Awaiting, sandbox: httpx2.Client) -> None:
    """Twenty wrong codes at once don't count as one."""
    answers = await asyncio.gather(*(awaiting.complete(code=f"wrong{number}") for number in range(20)))
    assert Counter(answer.status_code for answer in answers) == {400: 20}
    assert await awaiting.status() == ("failed", "too_many_wrong_codes")
    assert (await awaiting.complete()).status_code == 409
    assert exchanges(sandbox) == NOTHING


async def test_completion_codes_live_five_minutes(awaiting: Awaiting, sandbox: httpx2.Client, clock: FakeClock) -> None:
    """Then the session is expired, and its code is not redeemed."""
    clock.advance(seconds=300)
    assert await awaiting.status() == ("expired", None)
    refused = await awaiting.complete()
    assert refused.status_code == 404
    assert exchanges(sandbox) == NOTHING


async def test_just_in_time(awaiting: Awaiting, clock: FakeClock) -> None:
    """A moment before that it works, and the answer can be repeated later."""
    clock.advance(seconds=299)
    assert (await awaiting.complete()).status_code == 200
    clock.advance(seconds=300)
    assert (await awaiting.complete()).status_code == 200


@pytest.mark.parametrize("step", ["opened", "away"])
async def test_too_early(make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, step: str) -> None:
    """Before the browser is back there is no code that could be right, and trying does no harm."""
    app, person = await make_client(), Person(http)
    opened = await app.open_session()
    callback = await person.approve(opened["connect_url"]) if step == "away" else None
    for _ in range(6):
        assert (await app.complete(opened["id"], "BCDF-GHJK")).status_code == 400
    assert exchanges(sandbox) == NOTHING
    if callback is not None:
        assert (await person.arrive(callback)).status_code == 303


async def test_unknown_sessions(awaiting: Awaiting) -> None:
    """Unknown and malformed ids answer alike."""
    for session_id in ("cs_0000000000000000000000", "nonsense", awaiting.id.replace("cs_", "ch_")):
        assert (await awaiting.app.complete(session_id, awaiting.code)).status_code == 404

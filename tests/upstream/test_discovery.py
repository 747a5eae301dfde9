"""Discovery over HTTP: order, sharing, caching, and what is refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.errors import AddressRefused, NotSent, ProviderError
from broker.upstream.discovery import PATIENCE, TIME_TO_LIVE, Discovery
from broker.upstream.egress import Egress
from broker.upstream.metadata import Metadata
from tests.upstream.conftest import NOW
from tests.upstream.practice_server import Asked, PracticeServer, json_answer, practice_server, raw_answer
from tests.waiting import LoopTime, eventually

RFC8414 = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


class Time:
    """A clock that a test moves."""

    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def time() -> Time:
    """The discovery's clock."""
    return Time()


@pytest.fixture
async def discovery(egress: Egress, time: Time) -> AsyncIterator[Discovery]:
    """A discovery that knows nothing yet."""
    found = Discovery(egress, time)
    yield found
    await found.aclose()


def document(server: PracticeServer, path: str = "") -> dict[str, object]:
    """Good metadata of the server."""
    return {"issuer": f"{server.origin}{path}", "token_endpoint": f"{server.origin}/token"}


def targets(server: PracticeServer) -> list[str]:
    """What was asked for, in order."""
    return [asked.target for asked in server.asked]


async def ask(discovery: Discovery, issuer: str, *, trusted: bool = True, deadline: float = 60) -> Metadata:
    """Discover an issuer that the operator wrote."""
    return await discovery.metadata(issuer, trusted=trusted, deadline=deadline)


async def test_the_oauth_document_comes_first(server: PracticeServer, discovery: Discovery) -> None:
    """RFC 8414 is enough where it is there."""
    server.answers[RFC8414] = json_answer(document(server))
    server.answers[OPENID] = json_answer({**document(server), "token_endpoint": f"{server.origin}/other"})
    assert (await ask(discovery, server.origin)).token_endpoint == f"{server.origin}/token"
    assert targets(server) == [RFC8414]


@pytest.mark.parametrize(
    "absent", [raw_answer(404), raw_answer(403), raw_answer(200, b"<html>"), raw_answer(200, b"[]")]
)
async def test_the_openid_documents_come_next(server: PracticeServer, discovery: Discovery, absent: bytes) -> None:
    """Where nothing useful stands, the next place is asked; both OpenID forms are."""
    server.answers[f"{RFC8414}/one"] = server.answers[f"{OPENID}/one"] = absent
    server.answers[f"/one{OPENID}"] = json_answer(document(server, "/one"))
    assert (await ask(discovery, f"{server.origin}/one")).issuer == f"{server.origin}/one"
    assert targets(server) == [f"{RFC8414}/one", f"{OPENID}/one", f"/one{OPENID}"]


async def test_no_metadata_anywhere(server: PracticeServer, discovery: Discovery) -> None:
    """Every place was asked, once, and is named with what it answered."""
    server.answers[OPENID] = raw_answer(200, b"<html>")
    with pytest.raises(ProviderError) as refused:
        await ask(discovery, server.origin)
    assert targets(server) == [RFC8414, OPENID]
    assert refused.value.detail == (
        "the provider publishes no metadata where it should: "
        f"{server.origin}{RFC8414} answers HTTP 404; {server.origin}{OPENID} answers no JSON object"
    )


async def test_a_provider_that_is_not_there(discovery: Discovery) -> None:
    """The error names the address and the cause."""
    with pytest.raises(NotSent) as refused:
        await ask(discovery, "http://127.0.0.1:1")
    assert refused.value.detail == (
        f"the provider's metadata can't be fetched now: http://127.0.0.1:1{RFC8414}: "
        "127.0.0.1 can't be reached: the connection was refused"
    )


async def test_a_redirect_is_not_followed(server: PracticeServer, discovery: Discovery) -> None:
    """Metadata that moved is metadata that isn't there."""  # E3
    async with practice_server() as elsewhere:
        elsewhere.answers[RFC8414] = json_answer(document(server))
        location = {"location": f"{elsewhere.origin}{RFC8414}"}
        server.answers[RFC8414] = server.answers[OPENID] = raw_answer(302, b"", location)
        with pytest.raises(ProviderError):
            await ask(discovery, server.origin)
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    "wrong", [{"issuer": "https://evil.test"}, {"issuer": None}, {"token_endpoint": "http://provider.test/token"}]
)
async def test_wrong_metadata_is_refused(
    server: PracticeServer, discovery: Discovery, wrong: dict[str, object]
) -> None:
    """Another issuer, or an endpoint without https: refused there and then, no other document is tried."""  # E4
    server.answers[RFC8414] = json_answer({**document(server), **wrong})
    server.answers[OPENID] = json_answer(document(server))
    with pytest.raises(ProviderError):
        await ask(discovery, server.origin)
    assert targets(server) == [RFC8414]


async def test_an_issuer_of_a_user_is_guarded(server: PracticeServer, discovery: Discovery) -> None:
    """The guard refuses what the operator could ask; an answer for the one is no answer for the other."""  # E1
    server.answers[RFC8414] = json_answer(document(server))
    with pytest.raises(AddressRefused):
        await ask(discovery, server.origin, trusted=False)
    assert server.asked == []
    await ask(discovery, server.origin)
    with pytest.raises(AddressRefused):
        await ask(discovery, server.origin, trusted=False)
    assert len(server.asked) == 1


async def test_metadata_is_kept_for_an_hour(server: PracticeServer, discovery: Discovery, time: Time) -> None:
    """Within it nobody is asked; after it, and when the clock was set back, somebody is."""
    server.answers[RFC8414] = json_answer(document(server))
    await ask(discovery, server.origin)
    time.now += TIME_TO_LIVE - 1
    await ask(discovery, server.origin)
    assert len(server.asked) == 1
    time.now += 1
    await ask(discovery, server.origin)
    assert len(server.asked) == 2
    time.now -= 1
    await ask(discovery, server.origin)
    assert len(server.asked) == 3


async def test_an_older_copy_serves_while_the_provider_fails(
    server: PracticeServer, discovery: Discovery, time: Time
) -> None:
    """Each caller asks anew and gets the older copy; as soon as the provider is well again, the newer one."""  # P1
    server.answers[RFC8414] = json_answer(document(server))
    known = await ask(discovery, server.origin)
    time.now += TIME_TO_LIVE
    for failure in (raw_answer(500), raw_answer(429), b""):
        server.answers[RFC8414] = failure
        before = len(server.asked)
        assert await ask(discovery, server.origin) == known
        assert len(server.asked) > before
    server.answers[RFC8414] = json_answer({**document(server), "token_endpoint": f"{server.origin}/moved"})
    assert (await ask(discovery, server.origin)).token_endpoint == f"{server.origin}/moved"


async def test_an_older_copy_is_not_believed_for_ever(server: PracticeServer, discovery: Discovery, time: Time) -> None:
    """A provider that is silent for longer than a week may have moved, or be somebody else's by now."""
    server.answers[RFC8414] = json_answer(document(server))
    await ask(discovery, server.origin)
    server.answers[RFC8414] = raw_answer(500)
    time.now += 7 * 86_400_000 - 1
    await ask(discovery, server.origin)
    time.now += 1
    with pytest.raises(NotSent):
        await ask(discovery, server.origin)


async def test_an_older_copy_is_not_waited_for_long(
    server: PracticeServer, discovery: Discovery, time: Time, loop_time: LoopTime
) -> None:
    """A well-known address that hangs leaves the call that it is for most of its time."""  # P1
    server.answers[RFC8414] = json_answer(document(server))
    known = await ask(discovery, server.origin)
    time.now += TIME_TO_LIVE

    async def silence(_: Asked, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server.answers[RFC8414] = silence
    asking = asyncio.create_task(ask(discovery, server.origin, deadline=100 * PATIENCE))
    await eventually(lambda: len(server.asked) == 2)
    loop_time.advance(seconds=PATIENCE)
    assert await asking == known


@pytest.mark.parametrize("answer", ["another issuer", "nothing"])
async def test_an_older_copy_does_not_excuse_a_wrong_answer(
    server: PracticeServer, discovery: Discovery, time: Time, answer: str
) -> None:
    """Metadata that names another issuer, or is gone, is refused as on the first day."""  # E4
    server.answers[RFC8414] = json_answer(document(server))
    await ask(discovery, server.origin)
    time.now += TIME_TO_LIVE
    wrong = json_answer({**document(server), "issuer": "https://evil.test"})
    server.answers[RFC8414] = wrong if answer == "another issuer" else raw_answer(404)
    with pytest.raises(ProviderError):
        await ask(discovery, server.origin)


async def test_many_issuers_do_not_fill_the_memory(
    server: PracticeServer, discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr("broker.upstream.discovery._MAX_ISSUERS", 2)
    for path in ("/a", "/b", "/c"):
        server.answers[f"{RFC8414}{path}"] = json_answer(document(server, path))
        await ask(discovery, f"{server.origin}{path}")
    server.asked.clear()
    for path in ("/b", "/c", "/a"):
        await ask(discovery, f"{server.origin}{path}")
    assert targets(server) == [f"{RFC8414}/a"]


async def test_an_error_is_not_kept(server: PracticeServer, discovery: Discovery) -> None:
    """As soon as the provider is well again, so are we."""
    server.answers[RFC8414] = raw_answer(500)
    with pytest.raises(NotSent):
        await ask(discovery, server.origin)
    server.answers[RFC8414] = json_answer(document(server))
    await ask(discovery, server.origin)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_failing_provider_sent_nothing_of_ours(
    server: PracticeServer, discovery: Discovery, status: int
) -> None:
    """The caller's own request hasn't left, so the outcome is not unknown."""
    server.answers[RFC8414] = server.answers[OPENID] = raw_answer(status)
    with pytest.raises(NotSent, match=f"{OPENID} answers HTTP {status}"):
        await ask(discovery, server.origin)


async def test_a_silent_provider_sent_nothing_of_ours(
    server: PracticeServer, discovery: Discovery, loop_time: LoopTime
) -> None:
    """The deadline is for all the documents together."""  # P1

    async def silence(_: Asked, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server.answers[RFC8414] = silence
    asking = asyncio.create_task(ask(discovery, server.origin, deadline=60))
    await eventually(lambda: server.asked)
    loop_time.advance(seconds=60)
    with pytest.raises(NotSent, match=f"{RFC8414}.*took too long"):
        await asking
    assert targets(server) == [RFC8414]


async def test_callers_share_one_request(server: PracticeServer, discovery: Discovery) -> None:
    """Many at once are one request; who gives up takes nothing from the others."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Asked, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await go_on.wait()
        writer.write(json_answer(document(server)))
        await writer.drain()

    server.answers[RFC8414] = slow
    callers = [asyncio.create_task(ask(discovery, server.origin)) for _ in range(5)]
    await arrived.wait()
    callers[0].cancel()
    go_on.set()
    given_up, *answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(given_up, asyncio.CancelledError)
    assert all(isinstance(answer, Metadata) for answer in answers)
    assert len(server.asked) == 1

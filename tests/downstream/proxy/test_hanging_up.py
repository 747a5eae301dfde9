"""Streams as they happen: each part at once, neither side ahead of the other, and nobody listened to for nobody."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from broker.access.in_use import InUse
from broker.app.heart import Heart
from broker.downstream.proxy.relayed import RelayedResponse
from tests.downstream.proxy.caller import ProxyCaller
from tests.upstream.practice_server import Asked, PracticeServer, closed
from tests.waiting import eventually


def publish(sandbox: httpx2.Client, data: str | None, channel: str = "x") -> None:
    """Let the practice provider say something, or end what it says."""
    sandbox.post("/control/events", json={"channel": channel, "data": data}).raise_for_status()


def under_way(sandbox: httpx2.Client) -> int:
    """Answers and uploads that the practice provider is busy with."""
    return int(sandbox.get("/control/streams").raise_for_status().json()["open"])


async def test_each_event_is_there_before_the_next_is_sent(
    caller: ProxyCaller, connection: dict[str, str], sandbox: httpx2.Client
) -> None:
    """Nothing waits for more to come; the head of the answer not even for the first event."""
    path = f"/proxy/{connection['id']}/streams/events?channel=x"
    async with caller.http.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        parts = answer.aiter_raw()
        assert await anext(parts) == b": open\n\n"
        for event in ("one", "two", "three"):
            publish(sandbox, event)
            assert await anext(parts) == f"data: {event}\n\n".encode()
        publish(sandbox, None)
        assert [part async for part in parts] == []


@pytest.mark.parametrize("path", ["events?channel=quiet", "bytes?size=9000000000", "bytes?size=9000000000&length=no"])
async def test_who_hangs_up_is_not_listened_to_for(
    caller: ProxyCaller, connection: dict[str, str], sandbox: httpx2.Client, path: str
) -> None:
    """The provider's connection is closed, whether it was talking or had nothing to say."""
    async with caller.http.stream("GET", f"/proxy/{connection['id']}/streams/{path}") as answer:
        await anext(answer.aiter_raw())
        assert under_way(sandbox) == 1
    await eventually(lambda: under_way(sandbox) == 0)


async def test_who_hangs_up_before_there_is_an_answer_is_noticed(caller: ProxyCaller, rough: PracticeServer) -> None:
    """The provider sees that nobody waits any more."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def wait(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await closed(writer)
        left.set()

    rough.answers["/base/a"] = wait
    connection = await caller.connect()
    asking = asyncio.create_task(caller.http.get(f"/proxy/{connection}/a"))
    await asked.wait()
    asking.cancel()
    await left.wait()


async def test_an_upload_that_stops_in_the_middle_stops_there(
    caller: ProxyCaller, connection: dict[str, str], sandbox: httpx2.Client
) -> None:
    """The provider can't take half of it for the whole."""
    begun = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        begun.set()
        await asyncio.Event().wait()

    path = f"/proxy/{connection['id']}/streams/upload"
    asking = asyncio.create_task(caller.http.post(path, content=pieces()))
    await begun.wait()
    await eventually(lambda: under_way(sandbox) == 1)
    asking.cancel()
    await eventually(lambda: under_way(sandbox) == 0)


async def test_many_streams_hold_up_nobody(
    caller: ProxyCaller, connection: dict[str, str], sandbox: httpx2.Client
) -> None:
    """While a hundred have nothing to say, other requests are answered, and credentials refreshed."""
    path, count = f"/proxy/{connection['id']}/streams/events?channel=many", 100
    limits = httpx2.Limits(max_connections=count)
    async with httpx2.AsyncClient(
        base_url=caller.http.base_url, headers=caller.http.headers, trust_env=False, limits=limits, timeout=60
    ) as http:
        requests = [http.build_request("GET", path) for _ in range(count)]
        answers = await asyncio.gather(*(http.send(request, stream=True) for request in requests))
        assert under_way(sandbox) == count
        assert (await caller.http.get(f"/proxy/{connection['id']}/messages")).status_code == 200
        assert (await caller.app.fetch(connection["id"], stale_generation=1)).json()["generation"] == 2
        await asyncio.gather(*(answer.aclose() for answer in answers))
    await eventually(lambda: under_way(sandbox) == 0)


async def test_who_hangs_up_with_a_request_in_line_is_noticed(caller: ProxyCaller, rough: PracticeServer) -> None:
    """The one that is being answered is given up, and the one behind it is never looked at."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def wait(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await closed(writer)
        left.set()

    rough.answers["/base/a"] = wait
    connection = await caller.connect()
    head = f"Host: 127.0.0.1\r\nAuthorization: {caller.authorization}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", caller.port)
    writer.write(f"GET /proxy/{connection}/a HTTP/1.1\r\n{head}POST /proxy/{connection}/b HTTP/1.1\r\n{head}".encode())
    await asked.wait()
    writer.transport.abort()
    await left.wait()
    assert [each.target for each in rough.asked] == ["/base/a"]


@pytest.mark.parametrize("ended", ["connection", "client", "switched off"])
async def test_a_stream_ends_with_what_it_was_for(
    caller: ProxyCaller,
    connection: dict[str, str],
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
    heart: Heart,
    ended: str,
) -> None:
    """Within seconds, though the provider has nothing to say, and the caller listens on."""  # S13
    monkeypatch.setattr(RelayedResponse.__init__, "__kwdefaults__", {"looks_every": 0.05})
    path = f"/proxy/{connection['id']}"
    async with caller.http.stream("GET", f"{path}/streams/events?channel=quiet") as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == b": open\n\n"
        match ended:
            case "connection":
                await caller.app.call("DELETE", f"/v1/connections/{connection['id']}")
            case "client":
                await heart.clients.delete(caller.app.client_id)
            case _:
                await caller.app.call("PATCH", f"/v1/connections/{connection['id']}", {"status": "disabled"})
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(parts)
    await eventually(lambda: under_way(sandbox) == 0)


@pytest.mark.parametrize("memory", ["forgets", "is full"])
async def test_a_stream_ends_with_its_token_whoever_remembers_it(
    caller: ProxyCaller, rough: PracticeServer, heart: Heart, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    """Also where the provider's answer took longer than a token is remembered, or no place was left for it."""  # S13
    monkeypatch.setattr(RelayedResponse.__init__, "__kwdefaults__", {"looks_every": 0.05})
    asked, looked = asyncio.Event(), asyncio.Event()

    async def stream(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await looked.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        while not writer.is_closing():
            writer.write(b": still here\n\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    rough.answers["/base/s"] = stream
    connection = await caller.connect("rough")
    token, credentials = caller.authorization.split()[1], (caller.app.client_id, caller.app.secret)
    if memory == "is full":
        monkeypatch.setattr(InUse, "put", lambda *_, **__: None)
        heart.authenticator.forget(token)
    request = caller.http.build_request("GET", f"/proxy/{connection}/s")
    asking = asyncio.ensure_future(caller.http.send(request, stream=True))
    await asked.wait()
    for _ in range(2):
        await heart.authenticator.revalidate()
    looked.set()
    answer = await asking
    parts = answer.aiter_raw()
    assert (await anext(parts)).startswith(b": still here")
    (await caller.app.http.post("/oauth/revoke", data={"token": token}, auth=credentials)).raise_for_status()

    async def read_on() -> None:
        async for _ in parts:
            pass

    with pytest.raises(httpx2.RemoteProtocolError):
        await asyncio.wait_for(read_on(), 60)
    await answer.aclose()

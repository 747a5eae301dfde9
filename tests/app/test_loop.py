"""The worker's loop: a provider whose name server is silent holds up no other."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from broker.app import serving
from broker.app.loop import WorkerLoop
from broker.errors import NotSent
from broker.upstream.egress import Egress, OutboundRequest
from tests.upstream.practice_server import json_answer, practice_server
from tests.waiting import eventually


class Resolver:
    """In the place of the system's: names that begin with ``hang`` get no answer."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.go_on = threading.Event()
        self._system = socket.getaddrinfo

    def __call__(self, host: Any, *rest: Any, **more: Any) -> Any:
        self.asked.append(host)
        if host.startswith(b"hang"):
            self.go_on.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return self._system(host, *rest, **more)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """No thread outlives its test."""
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.go_on.set()


def test_a_provider_whose_name_hangs_holds_up_no_other(resolver: Resolver) -> None:
    """Sixteen of them, on the loop that workers run on; each asked for twice and looked up once."""  # F7, P1
    hanging = [f"https://hang-{turn}.test/token" for turn in range(16)] * 2

    async def story() -> None:
        egress = Egress()

        async def call(address: str, deadline: float = 60) -> int:
            answer = await egress.send(OutboundRequest("GET", address), deadline=deadline, trusted=True)
            return answer.status

        async with practice_server() as server:
            server.answers["/token"] = json_answer({})
            waiting = [asyncio.create_task(call(address)) for address in hanging]
            await eventually(lambda: len(resolver.asked) == 16)
            assert await call(server.origin.replace("127.0.0.1", "localhost") + "/token") == 200
            with pytest.raises(NotSent, match="too long"):
                await call(hanging[0], deadline=0.05)
            resolver.go_on.set()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(error) for error in ended] == [NotSent] * 32
            assert len(resolver.asked) == 17
        await egress.aclose()

    factory = serving.configuration(lambda *_: None).get_loop_factory()  # type: ignore[arg-type]
    with asyncio.Runner(loop_factory=factory) as runner:
        assert isinstance(runner.get_loop(), WorkerLoop)
        runner.run(asyncio.wait_for(story(), 60))


def test_a_name_that_has_to_wait_too_long_is_one_that_does_not_resolve(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system says it: to who asks the loop, only an ``OSError`` means that."""
    monkeypatch.setattr("broker.app.loop._WAITING", 0)

    async def story() -> None:
        with pytest.raises(socket.gaierror):
            await asyncio.get_running_loop().getaddrinfo("localhost", 443)

    with asyncio.Runner(loop_factory=WorkerLoop) as runner:
        runner.run(story())
    assert resolver.asked == []

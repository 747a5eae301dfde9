"""How long an idle connection is kept: as long as was set, from its last answer on, by one timer for all requests."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from broker.app.protocol import LimitedProtocol
from tests.app.test_answers_in_one_piece import ASKED, Pieces

KEPT = 65


class Timer:
    """One that was set."""

    def __init__(self, due: float, then: Callable[[], None]) -> None:
        self.due = due
        self.then = then
        self.over = False

    def cancel(self) -> None:
        """Never mind."""
        self.over = True


class Connection:
    """A caller's, on a loop whose time goes by when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.transport = Pieces()
        config = uvicorn.Config(
            cast("Any", self._app), interface="asgi3", log_config=None, ws="none", timeout_keep_alive=KEPT
        )
        self.protocol = LimitedProtocol(config, ServerState(), {}, cast("Any", self))
        self.protocol.connection_made(self.transport)
        self.create_task = asyncio.get_running_loop().create_task
        self.call_soon = asyncio.get_running_loop().call_soon

    def time(self) -> float:
        """The loop's."""
        return self.now

    def call_later(self, seconds: float, then: Callable[[], None]) -> Timer:
        """The loop's."""
        self.timers.append(timer := Timer(self.now + seconds, then))
        return timer

    async def ask(self) -> None:
        """A request, and what can be done about it now."""
        self.protocol.data_received(ASKED)
        await self.settle()

    async def settle(self) -> None:
        """Let the app do what it can."""
        for _ in range(5):
            await asyncio.sleep(0)

    def until(self, moment: float) -> None:
        """Let time go by, and whatever falls due."""
        while due := [timer for timer in self.timers if timer.due <= moment and not timer.over]:
            first = min(due, key=lambda timer: timer.due)
            self.now, first.over = first.due, True
            first.then()
        self.now = moment

    async def _app(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def connection() -> Connection:
    """One on which nothing was sent yet."""
    return Connection()


async def test_an_idle_connection_has_its_time_from_the_last_answer(connection: Connection) -> None:
    """Not from the first, and no longer."""
    for moment in (0, 10, 60):
        connection.until(moment)
        await connection.ask()
    connection.until(60 + KEPT - 0.1)
    assert not connection.transport.closed
    connection.until(60 + KEPT)
    assert connection.transport.closed


async def test_a_request_that_is_being_answered_is_not_idle(connection: Connection) -> None:
    """However long it takes."""
    await connection.ask()
    connection.until(10)
    connection.may_answer.clear()
    await connection.ask()
    connection.until(1000)
    assert not connection.transport.closed
    connection.may_answer.set()
    await connection.settle()
    connection.until(1000 + KEPT - 0.1)
    assert not connection.transport.closed
    connection.until(1000 + KEPT)
    assert connection.transport.closed


async def test_requests_do_not_set_a_timer_each(connection: Connection) -> None:
    """One for the head of the first, and one for all that come in time."""
    for moment in range(50):
        connection.until(moment)
        await connection.ask()
    assert len(connection.timers) == 2


async def test_a_lost_connection_leaves_no_timer(connection: Connection) -> None:
    """It would hold what is known of the caller for a minute."""
    await connection.ask()
    connection.protocol.connection_lost(ConnectionResetError())
    assert all(timer.over for timer in connection.timers)

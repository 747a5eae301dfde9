"""A provider's answer on its way back to the caller, as it comes in."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.downstream.proxy.hanging_up import CallerGoneError, hung_up, unless
from broker.downstream.proxy.headers import Raw
from broker.errors import OutcomeUnknown
from broker.upstream.relay import StreamedAnswer

_LOOKS_EVERY: Final = 5.0
"""Seconds between looks whether an answer that lasts may go on."""

log = structlog.get_logger(__name__)


class WithdrawnError(Exception):
    """The caller, or the connection, was ended in the middle of an answer."""


class RelayedResponse(Response):
    """Passes an answer back piece by piece: nothing is held, and the provider is read no faster than
    the caller reads."""

    def __init__(
        self,
        answer: StreamedAnswer,
        headers: Sequence[Raw],
        *,
        at_most: int | None,
        stands: Callable[[], Awaitable[bool]],
        looks_every: float = _LOOKS_EVERY,
    ) -> None:
        """:param headers: those that are told.
        :param at_most: bytes of the body after which it is broken off.
        :param stands: asked every ``looks_every`` seconds whether the caller may still have the rest.
        """
        super().__init__(status_code=answer.status)
        self.raw_headers = list(headers)
        self._answer = answer
        self._at_most = at_most
        self._stands = stands
        self._looks_every = looks_every

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. What ends in the middle ends in the middle for the caller, too: the connection is cut."""
        try:
            # Who hangs up while the provider has nothing to say is noticed, too.
            await unless(self._pass_back(send), self._objection(receive))
        except (CallerGoneError, OSError):
            log.info("proxy.caller_hung_up")
        except WithdrawnError:
            log.info("proxy.withdrawn")
        except OutcomeUnknown as error:
            # The server closes a connection whose answer was not ended.
            log.warning("proxy.broken_off", reason=error.detail)
        except asyncio.CancelledError:
            # The server ends, and its patience with it. Nobody waits for this task, and it has nothing to add.
            log.info("proxy.cut_short")
        finally:
            await self._answer.aclose()

    async def _objection(self, receive: Receive) -> NoReturn:
        while True:
            try:
                async with asyncio.timeout(self._looks_every):
                    await hung_up(receive)
            except TimeoutError:
                if not await self._stands():
                    raise WithdrawnError from None

    async def _pass_back(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._answer.body(at_most=self._at_most):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

"""Turns at a provider's token endpoint: so many at once, and none while it asked for patience or is down.

    wait in this process → take one of the slots that all replicas share, in the store → the request → say how it went

The count and the pause are shared (``vault.admission``), so a provider that is busy is left alone by everybody, and one
that recovers meets one request first. In a process one caller at a time asks the store for a slot; the others stand in
line behind it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

import structlog

from broker.clock import Clock
from broker.errors import (
    NotSent,
    OutcomeUnknown,
    ProviderBusy,
    ProviderPaused,
    ProviderRefused,
    ReauthRequired,
    StoreUnavailable,
)
from broker.models.ids import new_id
from broker.observe import metrics
from broker.providers import Provider
from broker.vault.admission import Admission, Full, How, Paused, Slot

_APP_REFUSED: Final = frozenset({"invalid_client", "unauthorized_client"})
_DOWN: Final = frozenset({"server_error", "temporarily_unavailable"})
_SLOT_OUTLIVES: Final = 10.0
"""Seconds that a slot outlives the request's own deadline, for what is stored before it is given back."""
_LOOKS_EVERY: Final = 0.1
"""Seconds between looks for a slot that another process may have given back."""

log = structlog.get_logger(__name__)


class _Line:
    """Who waits for one endpoint in this process."""

    def __init__(self) -> None:
        self.people = 0
        """In line or at the endpoint; nobody left = the line is forgotten."""
        self.head = asyncio.Lock()
        """Held by who is first in line and asks the store."""
        self.given_back = asyncio.Event()
        self.paused_until = 0.0
        """By the event loop's clock: until then the store needn't be asked."""


class Turns:
    """Gives turns; one of these per process."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self._admission = admission
        self._clock = clock
        self._lines: dict[tuple[str, str], _Line] = {}
        self._farewells: set[asyncio.Task[Any]] = set()

    def turn(
        self, provider: Provider, *, where: str, patience: float, suspect: bool = False, trial: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """A turn at ``where``, to be held while one request is under way::

            async with turns.turn(provider, where=endpoints.token.url, patience=5.0):
                tokens = await upstream.refresh(...)

        How the block ends decides how the endpoint is treated from then on, by all replicas:

        * it succeeds, or ``ProviderRefused`` or ``ReauthRequired`` speaks about this grant: all is well,
        * ``ProviderBusy`` with a time to wait: nobody asks before that,
        * ``ProviderBusy`` without one, ``NotSent``, ``OutcomeUnknown``, ``ProviderRefused`` about our app
          (``invalid_client``, ``unauthorized_client``) or with a failure of the provider's own (``server_error``,
          ``temporarily_unavailable``): five in a row, and nobody asks for one second, doubling up to five minutes,
        * anything else says nothing.

        After a pause one request at a time goes through until one ends well.

        :param where: the token endpoint's URL; what one does is not held against the others of the same entry.
        :param patience: seconds to wait for a turn at most.
        :param suspect: the connection failed lately: after a pause others go first.
        :param trial: a credential is tried that nobody uses yet, as imports do by the thousand. Its failures begin
            pauses of a second and make none longer, so that connections in use don't have to wait for an import.
        :raises ProviderPaused: on entering: there is a pause, or no turn came. Nothing was sent.
        :raises StoreUnavailable: on entering: the store can't be asked. Nothing was sent.
        """
        return self._turn(provider, where, patience, suspect, trial)

    @asynccontextmanager
    async def _turn(
        self, provider: Provider, where: str, patience: float, suspect: bool, trial: bool
    ) -> AsyncIterator[None]:
        where = _door(provider, where)
        line = self._lines.setdefault((provider.name, where), _Line())
        line.people += 1
        try:
            slot = await self._slot(line, provider, where, patience, suspect)
            try:
                yield
            except BaseException as error:
                await self._leave(line, provider, slot, error, trial=trial)
                raise
            # What was obtained is on its way to the store, and must not wait for this.
            self._detach(self._leave(line, provider, slot, None, trial=trial))
        finally:
            line.people -= 1
            if not line.people:
                del self._lines[provider.name, where]

    async def _slot(self, line: _Line, provider: Provider, where: str, patience: float, suspect: bool) -> Slot:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        try:
            async with asyncio.timeout_at(until):
                await line.head.acquire()
        except TimeoutError:
            raise _no_turn(provider) from None
        try:
            while True:
                line.given_back.clear()
                _refuse_while_paused(line)
                entered = await self._enter(provider, where, suspect)
                if isinstance(entered, Slot):
                    return entered
                if isinstance(entered, Paused):
                    if not suspect:
                        line.paused_until = loop.time() + entered.milliseconds / 1000
                    raise _left_alone(entered.milliseconds / 1000)
                left = until - loop.time()
                if left <= 0:
                    raise _no_turn(provider)
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(_LOOKS_EVERY, left)):
                        await line.given_back.wait()
        finally:
            line.head.release()

    async def _enter(self, provider: Provider, where: str, suspect: bool) -> Slot | Full | Paused:
        holder = new_id("turn")
        kept = int((provider.timeout + _SLOT_OUTLIVES) * 1000)
        try:
            return await self._admission.enter(
                provider.name,
                where,
                holder=holder,
                slots=provider.refresh.max_concurrent,
                milliseconds=kept,
                suspect=suspect,
            )
        except BaseException:
            # The answer is lost or nobody waits for it any more, and the slot may be ours.
            self._detach(self._admission.give_up(provider.name, where, holder))
            raise

    async def _leave(
        self, line: _Line, provider: Provider, slot: Slot, error: BaseException | None, *, trial: bool
    ) -> None:
        how, pause = _verdict(error)
        try:
            begun = await self._admission.leave(slot, how, pause=pause, trial=trial)
        except StoreUnavailable:
            # Its time runs out by itself. What came of the request is more important than this.
            log.info("turn.not_given_back", provider=provider.name)
        else:
            if begun:
                metrics.provider_pauses.labels(provider.name, how).inc()
                metrics.provider_paused_until.labels(provider.name).set((self._clock() + begun) / 1000)
                log.warning("provider.paused", provider=provider.name, seconds=begun / 1000, because=how)
        finally:
            line.given_back.set()

    def _detach(self, work: Coroutine[Any, Any, None]) -> None:
        async def quietly() -> None:
            with suppress(StoreUnavailable):
                await work

        task = asyncio.create_task(quietly(), name="give a turn back")
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)


def _door(provider: Provider, where: str) -> str:
    """The endpoint as one OAuth app with one secret finds it.

    While a secret is changed, replicas that still have the old one are refused. That must not stop those that have the
    new one.
    """
    secret = provider.client_secret.get_secret_value() if provider.client_secret else ""
    # Two bytes tell two secrets apart. The name stands in the store: all of a digest would prove a guess right.
    which = hashlib.sha256(f"{provider.client_id}\n{secret}".encode()).hexdigest()[:4]
    return f"{where} {provider.client_id} {which}"


def _refuse_while_paused(line: _Line) -> None:
    left = line.paused_until - asyncio.get_running_loop().time()
    if left > 0:
        raise _left_alone(left)


def _left_alone(seconds: float) -> ProviderPaused:
    return ProviderPaused(
        "the provider is left alone for a while, for it asked for that or is down",
        retry_after=max(1, round(seconds + 0.5)),
    )


def _no_turn(provider: Provider) -> ProviderPaused:
    return ProviderPaused(
        f"{provider.refresh.max_concurrent} requests are under way at the provider, and no turn came", retry_after=1
    )


def _verdict(error: BaseException | None) -> tuple[How, int | None]:
    """What the end of a request says about the endpoint, and how long a pause was asked for (ms)."""
    match error:
        case None | ReauthRequired():
            return "well", None
        case ProviderPaused():
            return "", None
        case ProviderRefused(error=code) if code in _APP_REFUSED | _DOWN:
            return "failed", None
        case ProviderRefused():
            return "well", None
        case ProviderBusy(retry_after=int(seconds)):
            return "refused", seconds * 1000
        case NotSent() | OutcomeUnknown() | ProviderBusy():
            return "failed", None
        case _:
            return "", None

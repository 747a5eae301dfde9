"""Key sets that somebody publishes (RFC 7517 §5): fetched once however many ask, kept for ten minutes.

All addresses here were written by whoever registered a client, never by the operator, so each goes past the guard.
What a token says never makes an address. It can make us look again, for its key may be newer than our copy, but not
more often than every half minute for one source. Whoever knows a client's id can make us look, so there is an end to
how many looks are under way.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from broker.clock import Clock
from broker.errors import BrokerError, NotSent, ProviderError, ProviderUnavailable
from broker.upstream.answers import read_object
from broker.upstream.discovery import fetch_metadata
from broker.upstream.egress import Egress, OutboundRequest

TIME_TO_LIVE: Final = 600_000
"""Milliseconds that a set is believed without asking again: so long does a withdrawn key still count."""

KEPT_AT_MOST: Final = 3_600_000
"""Milliseconds that a set counts while its address is silent: who can silence it mustn't keep a stolen key alive."""

LOOKED_AGAIN_EVERY: Final = 30_000
"""Milliseconds between two looks for a key that the copy lacks."""

PAUSE: Final = 5_000
"""Milliseconds for which an address that failed is left alone."""

DEADLINE: Final = 5.0
"""Seconds to wait for a set of which there is no copy."""

PATIENCE: Final = 2.0
"""Seconds to wait for a newer one."""

_MAX_SOURCES: Final = 512
_MAX_RUNNING: Final = 32
_MAX_BYTES: Final = 128 * 1024
_MAX_KEYS: Final = 100

Keys = TypeVar("Keys")

Failed = Callable[[BrokerError], None]
"""Is told why a look failed."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key set stands."""

    url: str
    of_issuer: bool = False
    """``url`` is an issuer, whose metadata say where (RFC 8414, OpenID Connect Discovery)."""


@dataclass(slots=True)
class _Known(Generic[Keys]):
    tried_at: int
    fetched_at: int = 0
    keys: Keys | None = None
    error: str = ""
    """What went wrong at the latest look."""


class KeySets(Generic[Keys]):
    """A cache of key sets, in memory. ``read`` makes keys of a set's members, and passes over what it can't use."""

    def __init__(self, egress: Egress, clock: Clock, read: Callable[[Sequence[object]], Keys]) -> None:
        self._egress = egress
        self._clock = clock
        self._read = read
        self._known: OrderedDict[KeySource, _Known[Keys]] = OrderedDict()
        self._running: dict[KeySource, asyncio.Task[Keys]] = {}

    async def keys(self, source: KeySource, suffices: Callable[[Keys], bool], failed: Failed = lambda _: None) -> Keys:
        """The keys at ``source``; newer ones where the copy doesn't suffice and wasn't made a moment ago.

        :param failed: is told if a look that this call began fails. Who joins it, or is answered out of memory, has
            nothing new to tell.
        :raises NotSent: they can't be had now, or could not a moment ago. ``retry_after`` says when to try again.
        :raises ProviderError: there is no key set, or the issuer's metadata can't be used.
        :raises AddressRefused: the address may not be called.
        """
        known, now = self._known.get(source), self._clock()
        if known is None:
            return await self._fetched(source, DEADLINE, failed)
        self._known.move_to_end(source)
        if known.keys is None:
            if 0 <= now - known.tried_at < PAUSE:
                raise NotSent(known.error, retry_after=PAUSE // 1000)
            return await self._fetched(source, DEADLINE, failed)
        enough = 0 <= now - known.fetched_at < TIME_TO_LIVE and suffices(known.keys)
        pause = LOOKED_AGAIN_EVERY if 0 <= now - known.fetched_at < TIME_TO_LIVE else PAUSE
        if enough or (0 <= now - known.tried_at < pause and self._still_counts(known)):
            return known.keys
        try:
            return await self._fetched(source, PATIENCE, failed)
        except NotSent:
            # Only silence: an address that answers that nothing stands there any more is believed.
            if not self._still_counts(known):
                raise
            return known.keys

    async def aclose(self) -> None:
        """Stop what is under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _still_counts(self, known: _Known[Keys]) -> bool:
        return 0 <= self._clock() - known.fetched_at < KEPT_AT_MOST

    async def _fetched(self, source: KeySource, deadline: float, failed: Failed) -> Keys:
        if source not in self._running:
            if len(self._running) >= _MAX_RUNNING:
                raise NotSent("too many key sets are being fetched", retry_after=1)
            task = asyncio.create_task(self._fetch(source, deadline))
            self._running[source] = task
            task.add_done_callback(lambda done: self._finish(source, done, failed))
        # Shielded: one caller who gives up must not take the answer from the others.
        return await asyncio.shield(self._running[source])

    def _finish(self, source: KeySource, task: asyncio.Task[Keys], failed: Failed) -> None:
        del self._running[source]
        if task.cancelled():
            return
        now, error = self._clock(), task.exception()
        known = self._known.setdefault(source, _Known(now))
        known.tried_at = now
        if error is None:
            known.keys, known.fetched_at = task.result(), now
        else:
            known.error = error.detail if isinstance(error, BrokerError) else "the keys can't be read"
            if not isinstance(error, NotSent):
                known.keys = None
            if isinstance(error, BrokerError):
                failed(error)
        self._known.move_to_end(source)
        if len(self._known) > _MAX_SOURCES:
            self._known.popitem(last=False)

    async def _fetch(self, source: KeySource, deadline: float) -> Keys:
        try:
            async with asyncio.timeout(deadline):
                address = await self._address(source, deadline)
                request = OutboundRequest("GET", address, {"accept": "application/jwk-set+json, application/json"})
                answer = await self._egress.send(request, deadline=deadline, trusted=False)
        except TimeoutError:
            raise NotSent("the keys can't be fetched now: it took too long") from None
        except ProviderUnavailable as error:
            raise NotSent(f"the keys can't be fetched now: {error.detail}") from None
        if answer.status == 429 or answer.status >= 500:
            raise NotSent(f"the keys can't be fetched now: their address answers HTTP {answer.status}")
        if answer.status != 200:
            raise ProviderError(f"no keys are published where they should be: HTTP {answer.status}")
        members = (read_object(answer) or {}).get("keys") if len(answer.body) <= _MAX_BYTES else None
        if not isinstance(members, list) or len(members) > _MAX_KEYS:
            # A proxy's error page, say: not the word of who publishes there.
            raise NotSent("the keys can't be fetched now: what stands there is no key set of a size that is read")
        return self._read(members)

    async def _address(self, source: KeySource, deadline: float) -> str:
        if not source.of_issuer:
            return source.url
        # As fresh as the keys: an issuer that moves them must not be locked out by a copy of its metadata.
        metadata = await fetch_metadata(self._egress, source.url, trusted=False, deadline=deadline, of_keys=True)
        if metadata.jwks_uri is None:
            raise ProviderError("the issuer's metadata name no address of keys")
        return metadata.jwks_uri

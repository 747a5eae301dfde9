"""Discovery: an issuer's metadata, fetched once however many ask at the same time, and kept for an hour.

Where newer metadata can't be fetched, the older copy serves on: endpoints hardly ever move, and a provider whose
well-known address is down must not cost every refresh.
"""

import asyncio
from collections import OrderedDict

from broker.clock import Clock
from broker.errors import NotSent, ProviderError, ProviderUnavailable
from broker.upstream.answers import read_object
from broker.upstream.egress import Egress, OutboundRequest
from broker.upstream.metadata import Metadata, parse_metadata, shown, well_known_addresses

TIME_TO_LIVE = 3_600_000
"""Milliseconds that metadata is believed without asking again. Errors are never kept."""

KEPT_AT_MOST = 7 * 86_400_000
"""Milliseconds after which metadata is no longer believed, although it can't be fetched anew."""

PATIENCE = 2.0
"""Seconds to wait for newer metadata where there is an older copy: the call it is for has a deadline, too."""

_MAX_ISSUERS = 512
_UNFETCHED = "the provider's metadata can't be fetched now"


class Discovery:
    """A cache of metadata by issuer, in memory."""

    def __init__(self, egress: Egress, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock
        self._known: OrderedDict[tuple[str, bool], tuple[int, Metadata]] = OrderedDict()
        self._running: dict[tuple[str, bool], asyncio.Task[Metadata]] = {}

    async def metadata(self, issuer: str, *, trusted: bool, deadline: float) -> Metadata:
        """The metadata of ``issuer`` (RFC 8414, then OpenID), within ``deadline`` seconds.

        :param trusted: the operator wrote the issuer's host.
        :raises NotSent: it could not be fetched, and never was. Never ``OutcomeUnknown``, because the caller's own
            request hasn't left.
        :raises ProviderError: there is none, or what is there can't be used.
        :raises AddressRefused: the issuer's address may not be called.
        """
        key = (issuer, trusted)
        if key not in self._known:
            return await self._fetched(key, deadline)
        fetched_at, known = self._known[key]
        if 0 <= self._clock() - fetched_at < TIME_TO_LIVE:
            return known
        try:
            return await self._fetched(key, min(deadline, PATIENCE))
        except NotSent:
            # Only silence: what was answered and refused, such as another issuer's name, is refused.
            if self._clock() - fetched_at < KEPT_AT_MOST:
                return known
            raise

    async def aclose(self) -> None:
        """Stop what is under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _fetched(self, key: tuple[str, bool], deadline: float) -> Metadata:
        if key not in self._running:
            task = asyncio.create_task(fetch_metadata(self._egress, key[0], trusted=key[1], deadline=deadline))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        # Shielded: one caller who gives up must not take the answer from the others.
        return await asyncio.shield(self._running[key])

    def _finish(self, key: tuple[str, bool], task: asyncio.Task[Metadata]) -> None:
        del self._running[key]
        # Asking for the exception also marks it as seen, for when every caller has gone away.
        if task.cancelled() or task.exception() is not None:
            return
        self._known[key] = (self._clock(), task.result())
        self._known.move_to_end(key)
        if len(self._known) > _MAX_ISSUERS:
            self._known.popitem(last=False)


async def fetch_metadata(
    egress: Egress, issuer: str, *, trusted: bool, deadline: float, of_keys: bool = False
) -> Metadata:
    """The metadata of ``issuer``, from wherever they are published, and from no copy.

    :param of_keys: what is looked for is ``jwks_uri``. Then OpenID's document comes first, which must name it and is
        all that some platforms publish; RFC 8414's may leave it out.
    :raises NotSent, ProviderError, AddressRefused: as :meth:`Discovery.metadata` does.
    """
    failing, found, address = False, list[str](), issuer
    try:
        async with asyncio.timeout(deadline):
            addresses = well_known_addresses(issuer)
            for address in reversed(addresses) if of_keys else addresses:
                request = OutboundRequest("GET", address, {"accept": "application/json"})
                answer = await egress.send(request, deadline=deadline, trusted=trusted)
                # Anything else means that nothing is published here: a 404, a redirect, a page.
                if answer.status == 200 and (document := read_object(answer)) is not None:
                    metadata = parse_metadata(issuer, document, found_at=address)
                    if metadata.jwks_uri is not None or not of_keys:
                        return metadata
                    said = "metadata without jwks_uri"
                else:
                    said = "no JSON object" if answer.status == 200 else f"HTTP {answer.status}"
                failing = failing or answer.status == 429 or answer.status >= 500
                found.append(f"{shown(address)} answers {said}")
    except TimeoutError:
        raise NotSent(f"{_UNFETCHED}: {shown(address)} took too long") from None
    except ProviderUnavailable as error:
        raise NotSent(f"{_UNFETCHED}: {shown(address)}: {error.detail}") from None
    if failing:
        raise NotSent(f"{_UNFETCHED}: {'; '.join(found)}")
    raise ProviderError(f"the provider publishes no metadata where it should: {'; '.join(found)}")

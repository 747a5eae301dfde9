"""What is limited, and how much: failed authentications, and the pages that anybody may call.

======================  ================  ======  =====================================================
what                    counted by        a min.  asked for
======================  ================  ======  =====================================================
failed authentication   address           120     after the check, so a right credential always gets in
failed authentication   client it named   600     likewise; whether there is such a client is not told
keys that can't be had  address           120     likewise: nothing was proven, and nothing was wrong
a connect or code page  address           600     before anything else, as the rest below
a button pressed there  address           120
a device login begun    address            30     before it is begun, for public clients: anybody can say their id
a device login begun    public client     300     likewise
a provider's answer     address           600     apart from the pages: one who came so far can get back
a wrong user code       address           5       before it is looked up, and given back when it was right
a wrong user code       IPv6 site (/48)   6       likewise: 30 in five minutes; one has 65,536 "addresses"
a wrong user code       browser           0.5     likewise: 5 in ten minutes
a wrong user code       –                 60      likewise: 300 in five minutes, from wherever
a refused credential    address           6       before the provider is asked, and given back unless it refused: 30
                                                  in five minutes
a refused credential    connect session   1       likewise: 10 in ten minutes
======================  ================  ======  =====================================================

Not limited, because counting would cost more than the answer: what comes from memory (metadata, the API's document,
static files, unknown addresses, ``/livez``). ``/readyz`` asks the store once for everybody that asks at that moment,
and ``/metrics`` is written five times a second at most (``app/operations``). What an authenticated service does is not
limited either: it is trusted not to hurt itself, and a fetch costs one command.

A store that can't count refuses nobody, and that lets nobody in. Whoever was to be counted has failed already, or goes
on to ask the same store: if that says nothing, the answer is 503. But a user code that can't be counted is not looked
up: a short code is only as good as the number of tries that it takes. Nor is a credential tried that can't be counted:
whoever found some elsewhere must not learn here which of them work.
"""

from contextlib import suppress
from ipaddress import IPv6Address
from math import ceil
from typing import Final, NamedTuple

from broker.errors import RateLimited, StoreUnavailable
from broker.models.address import address_of
from broker.models.ids import digest
from broker.observe import metrics
from broker.vault.counters import Counters


class Limit(NamedTuple):
    """So many within so many minutes, counted for each of whoever is counted."""

    name: str
    most: int
    minutes: int = 1

    def counter(self, who: str) -> str:
        """What those of ``who`` are counted under. A limit that has changed doesn't go on with what was counted."""
        return f"{self.name}/{who}/{self.most}/{self.minutes}"


_FAILURES: Final = Limit("failures", 120)
_FAILURES_OF_A_CLIENT: Final = Limit("failures_of_client", 600)
_UNPROVEN: Final = Limit("unproven", 120)
_PAGES: Final = Limit("pages", 600)
_BUTTONS: Final = Limit("buttons", 120)
_DEVICE_REQUESTS: Final = Limit("device_requests", 30)
_DEVICE_REQUESTS_OF_A_CLIENT: Final = Limit("device_requests_of_client", 300)
_RETURNS: Final = Limit("returns", 600)
_USER_CODES: Final = Limit("user_codes", 5)
_USER_CODES_OF_A_SITE: Final = Limit("user_codes_of_site", 30, 5)
_USER_CODES_OF_A_BROWSER: Final = Limit("user_codes_of_browser", 5, 10)
_USER_CODES_OF_ALL: Final = Limit("user_codes_of_all", 300, 5)
_CREDENTIALS: Final = Limit("credentials", 30, 5)
_CREDENTIALS_OF_A_SESSION: Final = Limit("credentials_of_session", 10, 10)
_NO_ADDRESS: Final = "unknown"
_DIGITS: Final = 32


class TooManyCodes(RateLimited):
    """Too many user codes were tried; whether this one is right was not looked up."""


class TooManyCredentials(RateLimited):
    """Too many credentials were refused; whether this one is any better was not asked."""


class Limits:
    """Counts, and refuses what comes too often. Every method raises :class:`RateLimited` with the seconds to wait."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def failure(self, address: str, client_id: str | None = None) -> None:
        """A credential from ``address`` was wrong; ``client_id`` is the client that it named, if it named one."""
        await self._hit(_FAILURES, network_of(address), "too many failed authentications from this address")
        if client_id is not None:
            # Only below the limit of its address: one caller can't make up names without end.
            # Hashed: it may be anything, of any length.
            who = digest(client_id)[:_DIGITS]
            await self._hit(_FAILURES_OF_A_CLIENT, who, "too many failed authentications for this client")

    async def unproven(self, address: str) -> None:
        """A credential from ``address`` could not be judged, for its keys can't be had."""
        await self._hit(_UNPROVEN, network_of(address), "too many authentications whose keys can't be fetched")

    async def device_request(self, address: str, client_id: str) -> None:
        """Somebody who says to be a public client begins a device login: that is kept for a quarter of an hour."""
        await self._hit(_DEVICE_REQUESTS, network_of(address), "too many device logins were begun from this address")
        await self._hit(_DEVICE_REQUESTS_OF_A_CLIENT, client_id, "too many device logins were begun for this client")

    async def page(self, address: str) -> None:
        """Somebody opens a page of a connect session."""
        await self._hit(_PAGES, network_of(address), "too many pages were opened from this address")

    async def button(self, address: str) -> None:
        """Somebody presses a button on one: that writes, and may ask a provider for its metadata."""
        await self._hit(_BUTTONS, network_of(address), "too many forms were sent from this address")

    async def arrival(self, address: str) -> None:
        """A browser comes back from a provider, or says so."""
        await self._hit(_RETURNS, network_of(address), "too many answers of providers came from this address")

    async def user_code(self, address: str, browser: str | None) -> None:
        """A user code is about to be looked up: counted as a wrong one until :meth:`right_user_code` takes that back.

        Counted first, so that of many guesses at once none slips through.

        :param browser: the browser session, if it has one that we gave it: made-up ones must not fill the store.
        :raises TooManyCodes: it must not be looked up.
        :raises StoreUnavailable: it can't be counted, and must not be looked up either.
        """
        for limit, who in _code_counters(address, browser):
            # One that is refused stays counted, and reaches no further counter: one caller can't use up the total.
            if (wait := await self._wait(limit, who)) is not None:
                raise TooManyCodes("too many user codes were tried", retry_after=wait)

    async def right_user_code(self, address: str, browser: str | None) -> None:
        """The code that was counted by :meth:`user_code` was right: it doesn't count."""
        # What can't be given back now ends with its window.
        with suppress(StoreUnavailable):
            for limit, who in _code_counters(address, browser):
                await self._counters.give_back(limit.counter(who))

    async def credential(self, address: str, session_id: str) -> None:
        """A provider is about to be asked about a credential that somebody typed: counted as refused until
        :meth:`not_refused` takes that back.

        :raises TooManyCredentials: it must not be asked.
        :raises StoreUnavailable: it can't be counted, and must not be asked either.
        """
        for limit, who in _credential_counters(address, session_id):
            if (wait := await self._wait(limit, who)) is not None:
                raise TooManyCredentials("too many credentials were refused", retry_after=wait)

    async def not_refused(self, address: str, session_id: str) -> None:
        """The credential that was counted by :meth:`credential` was right, or the provider was not asked."""
        with suppress(StoreUnavailable):
            for limit, who in _credential_counters(address, session_id):
                await self._counters.give_back(limit.counter(who))

    async def _hit(self, limit: Limit, who: str, refusal: str) -> None:
        try:
            wait = await self._wait(limit, who)
        except StoreUnavailable:
            metrics.rate_limits.labels(limit.name, "uncounted").inc()
            return
        if wait is not None:
            raise RateLimited(refusal, retry_after=wait)

    async def _wait(self, limit: Limit, who: str) -> int | None:
        """Count one of ``who``; the seconds to wait if it is over the limit.

        :raises StoreUnavailable: it can't be counted.
        """
        number, left = await self._counters.count(limit.counter(who), limit.minutes * 60_000)
        if number <= limit.most:
            return None
        metrics.rate_limits.labels(limit.name, "refused").inc()
        return max(1, ceil(left / 1000))


def _code_counters(address: str, browser: str | None) -> list[tuple[Limit, str]]:
    counters = [(_USER_CODES, network_of(address))]
    if (site := site_of(address)) is not None:
        # Else whoever has one could use up the total for everybody, five tries from each of sixty networks.
        counters.append((_USER_CODES_OF_A_SITE, site))
    if browser is not None:
        counters.append((_USER_CODES_OF_A_BROWSER, browser))
    return [*counters, (_USER_CODES_OF_ALL, "")]


def _credential_counters(address: str, session_id: str) -> list[tuple[Limit, str]]:
    return [(_CREDENTIALS_OF_A_SESSION, session_id), (_CREDENTIALS, network_of(address))]


def network_of(address: str) -> str:
    """Who is counted together: an IPv4 address, or the /64 that one IPv6 host can take its addresses from."""
    ip = address_of(address)
    if ip is None:
        return _NO_ADDRESS
    return _prefix(ip, 64) if isinstance(ip, IPv6Address) else str(ip)


def site_of(address: str) -> str | None:
    """The /48 that one IPv6 customer may be given, to make /64s of (RFC 6177 §2); ``None`` for all other addresses."""
    ip = address_of(address)
    return _prefix(ip, 48) if isinstance(ip, IPv6Address) else None


def _prefix(ip: IPv6Address, bits: int) -> str:
    host = 128 - bits
    return f"{IPv6Address(int(ip) >> host << host)}/{bits}"

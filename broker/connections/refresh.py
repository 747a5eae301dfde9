"""The one refresh: exactly one request to the provider, whoever asks and however many replicas.

    join what runs here → lease in the store → a turn at the provider → note the intent, durably → one POST → commit
    → judge → release

The steps run in a task of their own: a caller that gives up, or a server that shuts down gracefully, does not stop
them. What happens under the lease is in ``attempt``.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from broker.clock import Clock, steady
from broker.connections.attempt import Attempts
from broker.connections.authorization import minted_by
from broker.connections.detached import Detached
from broker.connections.obtaining import PATIENCE, Attempt, Overtaken
from broker.connections.persistence import until_stored
from broker.connections.tenure import Tenure
from broker.connections.verdict import TOLD_TO_WAIT, blameless
from broker.errors import BrokerError, NotFound, ProviderUnavailable, ReauthRequired
from broker.models.connection import Connection, Credential, Health, Status, unusable
from broker.models.ids import new_id
from broker.observe import steps
from broker.providers import Provider, Registry
from broker.upstream.facade import Upstream
from broker.vault.leases import Lease, Leases
from broker.vault.records import Records

_WAITS: Final = (0.01, 0.02, 0.04, 0.06)
"""Seconds between looks at a refresh that another process does; the last one repeats."""
_ATTEMPTS: Final = 2
"""At taking the lease: one answer may be lost. What a lost one took would block the connection until it runs out."""
_BEGINNINGS: Final = 5
"""How often one call begins anew because its lease was lost before anything was sent."""
_MOMENTS_AGO: Final = 60_000
"""Milliseconds."""
_FAILURES: Final = 5
"""In a row, after which a connection is not refreshed before its time for whoever fetches from it."""
_LONGEST_REST: Final = 60
"""Seconds that a caller is told to wait at most."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is wanted; callers who want the same share one refresh of their process."""

    connection_id: str
    generation: int
    min_ttl: int | None
    refused: bool

    @property
    def anyhow(self) -> bool:
        """Whether it is to be refreshed in any case."""
        return self.min_ttl is None and not self.refused

    def in_vain(self, connection: Connection, credential: Credential, now: int) -> bool:
        """Whether more life is asked for of a token that lives and is accepted than a refresh could give it."""
        if self.min_ttl is None or not connection.outlives(now):
            return False
        if credential.refresh_token is None and not connection.issued:
            return True
        refreshed, ends = connection.health.last_refreshed_at, connection.access_token_expires_at
        if connection.generation == 1 or refreshed is None or ends is None:
            return False
        # A refresh moments ago has shown how much life the provider grants.
        granted = ends - refreshed
        return granted <= self.min_ttl * 1000 and now - refreshed < min(_MOMENTS_AGO, granted // 2)


class Refresher:
    """Refreshes connections, each at most once at a time."""

    def __init__(
        self,
        records: Records,
        leases: Leases,
        attempts: Attempts,
        upstream: Upstream,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._records = records
        self._leases = leases
        self._attempts = attempts
        self._upstream = upstream
        self._providers = providers
        self._clock = clock
        self._running: Detached[None] = Detached()
        self._longest_wait = max((provider.timeout for provider in providers), default=0.0) + PATIENCE

    async def refresh(
        self,
        connection_id: str,
        generation: int,
        *,
        min_ttl: int | None = None,
        refused: bool = False,
        request_id: str | None = None,
    ) -> None:
        """Return once the connection has left ``generation``, by this refresh or by somebody else's.

        :param min_ttl: the access token lives shorter than this many seconds: nothing is refreshed if it was moments
            ago and the provider grants no longer life. ``None``: refresh, whatever its age.
        :param refused: the caller says that the provider no longer accepts the access token.
        :raises NotFound: the connection is gone.
        :raises ReauthRequired: the grant is; only the person can bring it back.
        :raises ProviderError: the provider refused for another reason.
        :raises ProviderUnavailable: it can't be reached, is not in the providers file, or the refresh takes longer than
            this call waits.
        :raises StoreUnavailable: the store can't be asked.
        """
        asked = _Asked(connection_id, generation, None if refused else min_ttl, refused)
        try:
            async with asyncio.timeout(self._longest_wait):
                await self._running.join(asked, lambda: self._refresh(asked, request_id))
        except TimeoutError:
            # Only the wait is over: the refresh goes on until what the provider answered is stored.
            raise ProviderUnavailable("the refresh takes longer than a request can wait", retry_after=1) from None

    async def drain(self, seconds: float) -> int:
        """Let running refreshes finish; answers how many did not within ``seconds``."""
        return await self._running.drain(seconds)

    async def _refresh(self, asked: _Asked, request_id: str | None) -> None:
        sent_at = None
        for _ in range(_BEGINNINGS):
            try:
                return await self._begin(asked, sent_at, request_id)
            except Overtaken as overtaken:
                # Somebody else has the lease now: what they make of it is what was asked for.
                sent_at = overtaken.sent_at
        raise ProviderUnavailable("other replicas keep taking this refresh over", retry_after=1)

    async def _begin(self, asked: _Asked, sent_at: int | None, request_id: str | None) -> None:
        seen = await self._read(asked)
        if seen is None:
            return
        connection = seen[0]
        try:
            provider, token_endpoint = await self._minting_provider(connection)
        except BrokerError as error:
            raise blameless(error) from None
        tenure = await self._acquire(connection, patience=provider.timeout + PATIENCE)
        if tenure is None:
            return
        async with tenure:
            await steps.reached("refresh.leased")
            # Whoever had the lease before may have succeeded, or failed: then asking again at once is in vain.
            current = await self._read(asked, since=connection)
            if current is None:
                await self._leases.drop(tenure.lease)
                return
            attempt = Attempt(*current, provider, token_endpoint, tenure, refused=asked.refused, sent_at=sent_at)
            await self._attempts.carry_out(attempt, request_id)

    async def _read(self, asked: _Asked, since: Connection | None = None) -> tuple[Connection, Credential] | None:
        """The connection and its credential, if there is anything to refresh; ``None``: there is not, any more.

        :param since: the connection as it was before others were waited for.
        :raises ReauthRequired, Conflict: it can't be used.
        :raises ProviderUnavailable: it failed while it was waited for, or so often that it has to rest.
        """
        found = await self._records.read_with_credential(asked.connection_id)
        if found is None:
            raise NotFound("no such connection")
        connection, credential = found
        if connection.generation != asked.generation:
            return None
        if connection.status is not Status.ACTIVE or credential is None:
            raise unusable(connection.status)
        now = self._clock()
        if asked.in_vain(connection, credential, now):
            return None
        health = connection.health
        rests = not asked.anyhow and _rests(health, now)
        if rests or (since is not None and health.consecutive_failures > since.health.consecutive_failures):
            seconds = max(1, ((health.next_refresh_at or 0) - now) // 1000)
            reason = health.last_error.message if health.last_error else "the provider failed"
            raise ProviderUnavailable(f"the last refresh failed: {reason}", retry_after=min(seconds, _LONGEST_REST))
        return connection, credential

    async def _minting_provider(self, connection: Connection) -> tuple[Provider, str]:
        """The provider that the credential came from, and the address of its token endpoint."""
        provider = self._providers.of_connection(connection.provider)
        endpoints = await self._upstream.endpoints(provider, connection.parameters)
        if minted_by(provider, endpoints) != connection.minted:
            # Sent elsewhere, or with another app's credentials, the refresh token would be leaked or refused.
            raise ReauthRequired("the provider is configured with another OAuth app than the one that was authorized")
        return provider, endpoints.token.url if endpoints.token else endpoints.minted_by

    async def _acquire(self, connection: Connection, *, patience: float) -> Tenure | None:
        """The lease, or ``None`` if the connection has left its generation meanwhile."""
        owner = new_id("lease")
        until, looks = steady() + patience, 0
        while (asked_at := steady()) < until:
            lease = await until_stored(
                lambda: self._leases.take(connection, owner),
                what=f"lease on {connection.id}",
                attempts=_ATTEMPTS,
            )
            if isinstance(lease, Lease):
                return Tenure(self._leases, lease, connection, asked_at=asked_at)
            if lease == "newer":
                return None
            if lease == "gone":
                raise NotFound("no such connection")
            await asyncio.sleep(_WAITS[min(looks, len(_WAITS) - 1)])
            looks += 1
        raise ProviderUnavailable("another refresh of this connection is still under way", retry_after=1)


def _rests(health: Health, now: int) -> bool:
    """Whether a connection that failed is left alone, so that whoever polls it takes no turns from the others."""
    told = health.last_error is not None and health.last_error.code == TOLD_TO_WAIT
    return (told or health.consecutive_failures >= _FAILURES) and (health.next_refresh_at or 0) > now

"""The one refresh: exactly one request to the provider, whoever asks and however many replicas.

    join what runs here → lease in the store → re-read → note the intent, durably → one POST → commit → judge → release

The steps run in a task of their own: a caller that gives up, or a server that shuts down gracefully, does not stop
them. What the provider answered is committed before anything else is done with it, fenced by the generation it
replaces, and the commit is repeated until the store confirms it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.authorization import minted_by
from broker.connections.detached import Detached
from broker.connections.persistence import until_stored
from broker.connections.verdict import ACCESS_TOKEN_REFUSED, EXPIRED, ends_grant, fault_of, outcome_of
from broker.errors import (
    BrokerError,
    Conflict,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    ReauthRequired,
    StoreUnavailable,
)
from broker.models.connection import Connection, Credential, Health, Status
from broker.models.event import Event
from broker.models.ids import new_id
from broker.observe import metrics
from broker.providers import Provider, Registry
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.records import Lease, Records

_LEASE_RENEWED_EVERY: Final = 4.0
_WAITS: Final = (0.01, 0.02, 0.04, 0.06)
"""Seconds between looks at a refresh that another process does; the last one repeats."""
_PATIENCE: Final = 5.0
"""Seconds beyond the provider's own deadline that a caller waits for a refresh."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One refresh under its lease."""

    connection: Connection
    credential: Credential
    provider: Provider
    lease: Lease


class Refresher:
    """Refreshes connections, each at most once at a time."""

    def __init__(
        self,
        records: Records,
        upstream: Upstream,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._records = records
        self._upstream = upstream
        self._providers = providers
        self._clock = clock
        self._running: Detached[None] = Detached()
        self._longest_wait = max((provider.timeout for provider in providers), default=0.0) + _PATIENCE

    async def refresh(self, connection_id: str, generation: int, *, request_id: str | None = None) -> None:
        """Return once the connection has left ``generation``, by this refresh or by somebody else's.

        :raises NotFound: the connection is gone.
        :raises ReauthRequired: the grant is; only the person can bring it back.
        :raises ProviderError: the provider refused for another reason.
        :raises ProviderUnavailable: it can't be reached, or the refresh takes longer than this call waits.
        :raises StoreUnavailable: the store can't be asked.
        """
        key = (connection_id, generation)
        try:
            async with asyncio.timeout(self._longest_wait):
                await self._running.join(key, lambda: self._refresh(connection_id, generation, request_id))
        except TimeoutError:
            # Only the wait is over: the refresh goes on until what the provider answered is stored.
            raise ProviderUnavailable("the refresh takes longer than a request can wait", retry_after=1) from None

    async def drain(self, seconds: float) -> int:
        """Let running refreshes finish; answers how many did not within ``seconds``."""
        return await self._running.drain(seconds)

    async def _refresh(self, connection_id: str, generation: int, request_id: str | None) -> None:
        found = await self._records.read_with_credential(connection_id)
        if found is None:
            raise NotFound("no such connection")
        connection, credential = found
        if connection.generation != generation:
            return
        if connection.status is not Status.ACTIVE or credential is None:
            raise ReauthRequired("the connection has to be authorized again")
        provider = await self._minting_provider(connection)
        lease = await self._acquire(connection, patience=provider.timeout + _PATIENCE)
        if lease is None:
            return
        attempt = _Attempt(connection, credential, provider, lease)
        renewal = asyncio.create_task(self._keep(lease), name=f"lease {connection_id}")
        try:
            await self._under_lease(attempt, request_id)
        finally:
            renewal.cancel()

    async def _minting_provider(self, connection: Connection) -> Provider:
        if connection.provider not in self._providers:
            raise Conflict("the connection's provider is no longer in the providers file")
        provider = self._providers.get(connection.provider)
        endpoints = await self._upstream.endpoints(provider, connection.parameters)
        if minted_by(provider, endpoints) != connection.minted:
            # Sent elsewhere, or with another app's credentials, the refresh token would be leaked or refused.
            raise ReauthRequired("the provider is configured with another OAuth app than the one that was authorized")
        return provider

    async def _acquire(self, connection: Connection, *, patience: float) -> Lease | None:
        """The lease, or ``None`` if the connection has left its generation meanwhile."""
        owner = new_id("lease")
        intent = {"generation": connection.generation, "owner": owner, "started": self._clock()}
        loop = asyncio.get_running_loop()
        until, looks = loop.time() + patience, 0
        while loop.time() < until:
            lease = await self._records.lease(connection, owner, intent)
            if isinstance(lease, Lease):
                return lease
            if lease == "newer":
                return None
            if lease == "gone":
                raise NotFound("no such connection")
            await asyncio.sleep(_WAITS[min(looks, len(_WAITS) - 1)])
            looks += 1
        raise ProviderUnavailable("another refresh of this connection is still under way", retry_after=1)

    async def _keep(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(_LEASE_RENEWED_EVERY)
            # A lease that can't be renewed only costs exclusiveness; the generation still fences the write.
            with suppress(StoreUnavailable):
                await self._records.renew(lease)

    async def _under_lease(self, attempt: _Attempt, request_id: str | None) -> None:
        connection, provider = attempt.connection, attempt.provider
        repeatable = connection.credential_type == "client_credentials" or provider.refresh.may_repeat
        if attempt.lease.lost_intent and not repeatable and connection.outlives(self._clock()):
            # Whether the provider took the earlier request is unknown, and asking again could end the grant.
            # As long as the access token lives there is something to lose.
            await self._records.drop(attempt.lease)
            raise OutcomeUnknown("the outcome of an earlier refresh is unknown", retry_after=5)
        try:
            tokens = await self._ask_provider(attempt)
        except BrokerError as error:
            metrics.refreshes.labels(provider.name, outcome_of(error)).inc()
            if not await self._note_failure(attempt, error, request_id):
                # The record has left this generation: the failure was about a credential that is already replaced.
                return
            if ends_grant(error):
                raise ReauthRequired("the connection has to be authorized again") from None
            raise
        metrics.refreshes.labels(provider.name, "ok").inc()
        await self._commit(attempt, tokens, request_id)

    async def _ask_provider(self, attempt: _Attempt) -> TokenSet:
        connection, provider = attempt.connection, attempt.provider
        if connection.credential_type == "client_credentials":
            return await self._upstream.client_credentials(
                provider, connection.parameters, scopes=connection.requested_scopes
            )
        refresh_token = attempt.credential.refresh_token
        if refresh_token is None:
            raise await self._verdict_without_refresh_token(attempt)
        return await self._upstream.refresh(
            provider, connection.parameters, refresh_token=refresh_token, scopes=connection.scopes
        )

    async def _verdict_without_refresh_token(self, attempt: _Attempt) -> BrokerError:
        """What is wrong with a credential that can't be refreshed.

        That a caller saw a refusal does not end a grant: before its time, an access token is only dead if the provider
        says so to us, too.
        """
        connection = attempt.connection
        if not connection.outlives(self._clock()):
            return ProviderRefused(EXPIRED, "the provider gave no refresh token", http_status=0)
        try:
            account = await self._upstream.identify(
                attempt.provider, connection.parameters, access_token=attempt.credential.access_token
            )
        except ProviderRefused as error:
            if error.error != "invalid_token":
                raise
            return ProviderRefused(ACCESS_TOKEN_REFUSED, error.detail, http_status=error.http_status)
        if account is None:
            return ReauthRequired("there is no refresh token, and the provider can't be asked about the access token")
        return ProviderError("the provider gave no refresh token, and it still accepts the access token")

    async def _commit(self, attempt: _Attempt, tokens: TokenSet, request_id: str | None) -> None:
        before, now = attempt.connection, self._clock()
        after = replace(
            before,
            generation=before.generation + 1,
            scopes=tokens.scopes,
            provider_data={**before.provider_data, **tokens.provider_data},
            access_token_expires_at=None if tokens.expires_in is None else now + tokens.expires_in * 1000,
            updated_at=now,
            health=Health(last_checked_at=before.health.last_checked_at, last_refreshed_at=now),
        )
        credential = rotated(attempt.credential, tokens)
        event = self._event("credential.refreshed", before, request_id, {"generation": after.generation})
        # The new refresh token exists only here: giving up would lose the account. The write is fenced and marked
        # as this attempt's, so repeating one whose answer was lost changes nothing.
        stored = await until_stored(
            lambda: self._records.replace(before, after, credential, event, lease=attempt.lease),
            what=f"refreshed credential of {before.id}",
        )
        if not stored:
            await self._superseded(attempt, credential)

    async def _superseded(self, attempt: _Attempt, credential: Credential) -> None:
        current = await self._records.read(attempt.connection.id)
        log.warning("refresh.superseded", connection_id=attempt.connection.id)
        if current is None or current.status is Status.REVOKED:
            if attempt.provider.revoking_ends_grant:
                # Whoever disconnected has revoked the whole grant already, or spared it for another connection.
                return
            # Disconnected while the provider answered: what it just issued is nobody's and is given back.
            await self._upstream.revoke(
                attempt.provider,
                attempt.connection.parameters,
                access_token=credential.access_token,
                refresh_token=credential.refresh_token,
            )

    async def _note_failure(self, attempt: _Attempt, error: BrokerError, request_id: str | None) -> bool:
        """Note what went wrong; ``False`` if the record left its generation meanwhile."""
        before, now, dead = attempt.connection, self._clock(), ends_grant(error)
        fault = fault_of(error, lost_intent=attempt.lease.lost_intent, at=now)
        health = replace(
            before.health,
            consecutive_failures=before.health.consecutive_failures + 1,
            last_error=fault,
        )
        event_type = "connection.reauth_required" if dead else "credential.refresh_failed"
        return await self._records.annotate(
            before,
            status=Status.REAUTH_REQUIRED if dead else None,
            health=health,
            updated_at=now,
            event=self._event(event_type, before, request_id, {"reason": fault.code}),
            lease=attempt.lease,
            # The provider read the request and said no, or never saw it: the refresh token is as it was, unless an
            # earlier request has used it up.
            settles_intent=not isinstance(error, OutcomeUnknown) and not attempt.lease.lost_intent,
        )

    def _event(
        self, event_type: str, connection: Connection, request_id: str | None, data: Mapping[str, object]
    ) -> Event:
        return Event(
            type=event_type,
            tenant=connection.tenant,
            at=self._clock(),
            connection_id=connection.id,
            request_id=request_id,
            data={"provider": connection.provider, **data},
        )


def rotated(before: Credential, tokens: TokenSet) -> Credential:
    """The credential after a refresh: the old refresh token stays when none came (RFC 6749 §6).

    The replaced one is kept beside the new one until that has worked once.
    """
    if tokens.refresh_token is None or tokens.refresh_token == before.refresh_token:
        return Credential(tokens.access_token, before.refresh_token)
    return Credential(tokens.access_token, tokens.refresh_token, before.refresh_token)

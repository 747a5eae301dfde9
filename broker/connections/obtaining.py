"""From a refresh token to new tokens: a turn at the provider, the intent, one POST; and what else there is to try.

A refresh token that is refused is not the end: the record is read again, then every other token of the same grant is
tried. Only when none works is the grant over.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Final

from broker.clock import Clock
from broker.connections.persistence import WITHIN_A_SECOND, until_stored
from broker.connections.tenure import Tenure
from broker.connections.turns import Turns
from broker.connections.verdict import (
    access_token_expired,
    access_token_refused,
    credential_refused,
    outcome_unknown,
    refresh_token_refused,
    scopes_lost,
)
from broker.connections.whoami import refuses_token, whose
from broker.errors import (
    BrokerError,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    ReauthRequired,
    UnusableToken,
)
from broker.models.connection import Connection, Credential
from broker.observe import steps
from broker.providers import Provider
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.parked import Parked
from broker.vault.records import Records

PATIENCE: Final = 5.0
"""Seconds beyond the provider's own deadline that a refresh waits for others: for the lease, for a turn."""


class Overtaken(Exception):
    """The lease or the generation was lost before anything came of it: another replica has taken over."""

    def __init__(self, sent_at: int | None = None) -> None:
        super().__init__()
        self.sent_at = sent_at
        """When the refresh token was sent all the same (ms), and nobody knows what came of that."""


@dataclass(slots=True)
class _Tried:
    """What an attempt has come to know."""

    parked: int | None = None
    """How many parked credentials there were when they were read; ``None``: they were not."""
    refused: set[str] = field(default_factory=set, repr=False)
    """Refresh tokens that the provider takes for nothing."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One refresh under its lease."""

    connection: Connection
    credential: Credential
    provider: Provider
    token_endpoint: str
    tenure: Tenure
    refused: bool
    """A caller says that the provider no longer accepts the access token."""
    nothing_to_lose: bool = False
    """The access token is dead: should the grant end, it takes nothing from anybody."""
    sent_at: int | None = None
    """When this process has sent the refresh token before, under a lease that it lost (ms)."""
    tried: _Tried = field(default_factory=_Tried)

    @property
    def unknown_since(self) -> int | None:
        """Since when nobody knows whether the refresh token is used up (ms), or ``None``."""
        return self.sent_at if self.tenure.lease.unknown_since is None else self.tenure.lease.unknown_since

    def may_send(self, now: int) -> bool:
        """Whether sending the refresh token can do no harm: it was not sent before, or may be sent again."""
        since = self.unknown_since
        return since is None or self.nothing_to_lose or self.provider.refresh.may_repeat(since=(now - since) / 1000)


class Obtaining:
    """Asks providers for new tokens."""

    def __init__(self, records: Records, parked: Parked, upstream: Upstream, turns: Turns, clock: Clock) -> None:
        self._records = records
        self._parked = parked
        self._upstream = upstream
        self._turns = turns
        self._clock = clock

    async def obtain(self, attempt: Attempt) -> tuple[TokenSet, Credential]:
        """New tokens, and the credential whose refresh token they were obtained with.

        :raises Overtaken: the lease was lost, and nothing was sent.
        :raises ProviderPaused: the provider is left alone now; nothing is open.
        :raises ReauthRequired: the grant is over, or only the person can tell.
        :raises ProviderError, ProviderUnavailable, StoreUnavailable: otherwise.
        """
        connection, credential = attempt.connection, attempt.credential
        if connection.issued:
            return await self._issued(attempt), credential
        if credential.refresh_token is None:
            raise await self._verdict_without_refresh_token(attempt)
        if attempt.unknown_since is not None:
            # A successor that came in an answer of no other use was never sent: nothing is gambled with it.
            parked = (await self._parked.candidates(connection)).refresh_tokens
            if obtained := await self._first(attempt, parked):
                return obtained
        if obtained := await self._first(attempt, [credential.refresh_token]):
            return obtained
        if obtained := await self._first(attempt, await self._spares(attempt)):
            return obtained
        ends = connection.refresh_token_expires_at
        raise refresh_token_refused(
            outcome_unknown=attempt.unknown_since is not None, expired=ends is not None and ends <= self._clock()
        )

    async def _first(self, attempt: Attempt, refresh_tokens: Iterable[str]) -> tuple[TokenSet, Credential] | None:
        """What the first of these that works gives; ``None``: the provider says of each that it doesn't."""
        for refresh_token in refresh_tokens:
            if refresh_token in attempt.tried.refused:
                continue
            try:
                tokens = await self._send(attempt, refresh_token)
            except ProviderRefused as error:
                if error.error == "invalid_scope" and not attempt.provider.refresh_params:
                    # No scope was asked for, so this is about those that were granted.
                    raise scopes_lost(attempt.connection.scopes) from None
                if error.error != "invalid_grant":
                    raise
                attempt.tried.refused.add(refresh_token)
            except (OutcomeUnknown, UnusableToken) as error:
                if error.refresh_token is not None and error.refresh_token != refresh_token:
                    await self._keep(attempt.connection, error.refresh_token)
                raise
            else:
                return tokens, replace(attempt.credential, refresh_token=refresh_token)
        return None

    async def _keep(self, connection: Connection, refresh_token: str) -> None:
        """Park what stood in an answer that is of no other use."""
        await until_stored(lambda: self._parked.park(connection, refresh_token), what=f"parked for {connection.id}")

    async def _send(self, attempt: Attempt, refresh_token: str) -> TokenSet:
        connection, provider, tenure = attempt.connection, attempt.provider, attempt.tenure
        async with self._turn(attempt):
            if not attempt.may_send(self._clock()):
                # A grace that was not over when the line began.
                raise outcome_unknown()
            if not await tenure.intend(started=self._clock()):
                raise Overtaken
            await steps.reached("refresh.intended")
            try:
                return await self._upstream.refresh(
                    provider,
                    connection.parameters,
                    refresh_token=refresh_token,
                    scopes=connection.scopes,
                    secrets=attempt.credential.secrets,
                    permit=lambda: tenure.permits and attempt.may_send(self._clock()),
                )
            except NotSent:
                tenure.nothing_open = True
                if not tenure.permits:
                    raise Overtaken from None
                if not attempt.may_send(self._clock()):
                    raise outcome_unknown() from None
                raise

    async def _issued(self, attempt: Attempt) -> TokenSet:
        connection, provider = attempt.connection, attempt.provider
        async with self._turn(attempt):
            try:
                return await self._upstream.issue(
                    provider,
                    connection.parameters,
                    credential=attempt.credential,
                    scopes=connection.requested_scopes,
                )
            except ProviderRefused as error:
                if error.error != "invalid_grant" or connection.credential_type == "client_credentials":
                    # The app's own grant is the operator's to mend.
                    raise
                raise credential_refused() from None

    def _turn(self, attempt: Attempt) -> AbstractAsyncContextManager[None]:
        return self._turns.turn(
            attempt.provider,
            where=attempt.token_endpoint,
            patience=attempt.provider.timeout + PATIENCE,
            suspect=attempt.connection.health.consecutive_failures > 0,
        )

    async def _spares(self, attempt: Attempt) -> list[str]:
        """Other refresh tokens of the grant: obtained by who came too late, and the one that was replaced last.

        Only asked for when the connection's own is refused.
        """
        connection, credential = attempt.connection, attempt.credential
        current = await until_stored(
            lambda: self._records.read(connection.id), what=f"record of {connection.id}", attempts=WITHIN_A_SECOND
        )
        if current is None or current.generation != connection.generation:
            # Refused because it is already replaced; noting the refusal finds that out, too.
            return []
        parked = await self._parked.candidates(connection)
        attempt.tried.parked = parked.count
        found = dict.fromkeys(parked.refresh_tokens)
        # Where a second use may end the grant, a refusal that was a mistake of the provider's must not become its end.
        harmless = not attempt.provider.refresh.reuse_ends_grant or not connection.outlives(self._clock())
        if credential.previous_refresh_token is not None and harmless:
            found[credential.previous_refresh_token] = None
        return list(found)

    async def _verdict_without_refresh_token(self, attempt: Attempt) -> BrokerError:
        """What is wrong with a credential that can't be refreshed.

        That a caller saw a refusal does not end a grant: before its time, an access token is only dead if the provider
        says so to us, too.
        """
        connection = attempt.connection
        if not connection.outlives(self._clock()):
            return access_token_expired()
        try:
            account = await whose(self._upstream, attempt.provider, connection, attempt.credential)
        except ProviderRefused as error:
            if not refuses_token(error):
                raise
            return access_token_refused(error)
        if account is None:
            return ReauthRequired("there is no refresh token, and the provider can't be asked about the access token")
        return ProviderError("the provider gave no refresh token, and it still accepts the access token")

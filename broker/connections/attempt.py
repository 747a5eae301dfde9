"""One attempt under its lease: a turn at the provider, the intent, one POST; then commit, or note what went wrong.

A refresh token that is refused is not the end: first the record is read again, then every other token of the same
grant is tried. Only when none works is the connection given up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from broker.clock import Clock
from broker.connections import schedule
from broker.connections.commits import Commits
from broker.connections.persistence import until_stored
from broker.connections.tenure import Tenure
from broker.connections.turns import Turns
from broker.connections.verdict import (
    GrantOver,
    access_token_expired,
    access_token_refused,
    blameless,
    fault_of,
    outcome_of,
    refresh_token_refused,
    scopes_lost,
)
from broker.connections.whoami import refuses_token, whose
from broker.errors import (
    BrokerError,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ProviderPaused,
    ProviderRefused,
    ReauthRequired,
    UnusableToken,
)
from broker.models.connection import Connection, Credential, Status
from broker.models.event import Event
from broker.observe import metrics, steps
from broker.providers import Provider
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.parked import Parked
from broker.vault.records import Records

_ATTEMPTS_TO_NOTE: Final = 5
"""Writes of a failure before it is given up, within a second: unsettled, the intent would hold the next refresh up."""
_SPENT_PERHAPS: Final = (OutcomeUnknown, UnusableToken)
"""After these the refresh token may be used up."""
PATIENCE: Final = 5.0
"""Seconds beyond the provider's own deadline that a refresh waits for others: for the lease, for a turn."""


class Overtaken(Exception):
    """The lease or the generation was lost before anything came of it: another replica has taken over."""

    def __init__(self, sent_at: int | None = None) -> None:
        super().__init__()
        self.sent_at = sent_at
        """When the refresh token was sent all the same (ms), and nobody knows what came of that."""


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
    sent_at: int | None = None
    """When this process has sent the refresh token before, under a lease that it lost (ms)."""

    @property
    def unknown_since(self) -> int | None:
        """Since when nobody knows whether the refresh token is used up (ms), or ``None``."""
        return self.sent_at if self.tenure.lease.unknown_since is None else self.tenure.lease.unknown_since

    def may_send(self, now: int) -> bool:
        """Whether sending the refresh token can do no harm: it was not sent before, or may be sent again."""
        since = self.unknown_since
        return since is None or self.provider.refresh.may_repeat(since=(now - since) / 1000)


class Attempts:
    """Carries attempts out."""

    def __init__(
        self, records: Records, parked: Parked, commits: Commits, upstream: Upstream, turns: Turns, clock: Clock
    ) -> None:
        self._records = records
        self._parked = parked
        self._commits = commits
        self._upstream = upstream
        self._turns = turns
        self._clock = clock

    async def carry_out(self, attempt: Attempt, request_id: str | None) -> None:
        """Refresh, and return once the new credential is stored; or the record has left its generation meanwhile.

        :raises Overtaken: the lease or the generation was lost, and nothing is stored.
        :raises ReauthRequired: the grant is over, or only the person can tell.
        :raises ProviderError, ProviderUnavailable: it was refused, not sent, or its outcome is unknown.
        :raises StoreUnavailable: what went wrong could not be noted.
        """
        connection, provider, began = attempt.connection, attempt.provider, self._clock()
        if attempt.unknown_since != attempt.tenure.lease.unknown_since:
            # A failover has lost the intent under which it was sent. Others must know, too.
            await attempt.tenure.intend(started=began)
        if not attempt.may_send(self._clock()) and await self._something_to_lose(attempt):
            # Whether the provider took the earlier request is unknown, and asking again could end the grant.
            unknown = OutcomeUnknown("the outcome of an earlier refresh is unknown", retry_after=5)
            if connection.health.last_error is None:
                await self._note_failure(attempt, unknown, request_id)
            raise unknown
        try:
            tokens, replaced = await self._obtain(attempt)
        except ProviderPaused:
            # Nothing happened that should be noted; it has been said when the pause began.
            raise
        except BrokerError as caught:
            error = blameless(caught)
            metrics.refreshes.labels(provider.name, outcome_of(error)).inc()
            if not await self._note_failure(attempt, error, request_id):
                # The record has left this generation, or the lease was lost: what holds now is for another look to say.
                # To return would mean that there is a new credential, and the old one would be served, dead or not.
                if isinstance(error, GrantOver):
                    await self._commits.doubt(connection, provider, request_id)
                raise Overtaken(began if isinstance(error, _SPENT_PERHAPS) else attempt.sent_at) from None
            if isinstance(error, GrantOver):
                raise ReauthRequired("the connection has to be authorized again") from None
            raise error from None
        metrics.refreshes.labels(provider.name, "ok").inc()
        await steps.reached("refresh.answered")
        await self._commits.commit(
            connection, replaced, tokens, provider=provider, lease=attempt.tenure.lease, request_id=request_id
        )

    async def _something_to_lose(self, attempt: Attempt) -> bool:
        """Whether the access token may still work, so that ending the grant would take something from somebody."""
        connection = attempt.connection
        if not connection.outlives(self._clock()):
            return False
        if not attempt.refused:
            return True
        try:
            account = await whose(self._upstream, attempt.provider, connection, attempt.credential)
        except BrokerError as error:
            return not refuses_token(error)
        # Where the provider can't be asked, the caller's word has to do, unless the token's end can be waited for.
        return account is not None or connection.access_token_expires_at is not None

    async def _obtain(self, attempt: Attempt) -> tuple[TokenSet, Credential]:
        """New tokens, and the credential whose refresh token they were obtained with."""
        connection, credential = attempt.connection, attempt.credential
        if connection.credential_type == "client_credentials":
            return await self._app_token(attempt), credential
        if credential.refresh_token is None:
            raise await self._verdict_without_refresh_token(attempt)
        try:
            return await self._send(attempt, credential.refresh_token), credential
        except ProviderRefused as error:
            if error.error == "invalid_scope" and not attempt.provider.refresh_params:
                # No scope was asked for, so this is about those that were granted.
                raise scopes_lost(connection.scopes) from None
            if error.error != "invalid_grant":
                raise
        for spare in await self._spares(attempt):
            try:
                return await self._send(attempt, spare), replace(credential, refresh_token=spare)
            except ProviderRefused as error:
                if error.error != "invalid_grant":
                    raise
        ends = connection.refresh_token_expires_at
        raise refresh_token_refused(
            outcome_unknown=attempt.unknown_since is not None, expired=ends is not None and ends <= self._clock()
        )

    async def _send(self, attempt: Attempt, refresh_token: str) -> TokenSet:
        connection, provider, tenure = attempt.connection, attempt.provider, attempt.tenure
        async with self._turns.turn(provider, where=attempt.token_endpoint, patience=provider.timeout + PATIENCE):
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
                    permit=lambda: tenure.permits,
                )
            except NotSent:
                if tenure.permits:
                    raise
                raise Overtaken from None

    async def _app_token(self, attempt: Attempt) -> TokenSet:
        connection, provider = attempt.connection, attempt.provider
        async with self._turns.turn(provider, where=attempt.token_endpoint, patience=provider.timeout + PATIENCE):
            return await self._upstream.client_credentials(
                provider,
                connection.parameters,
                scopes=connection.requested_scopes,
                secrets=attempt.credential.secrets,
            )

    async def _spares(self, attempt: Attempt) -> list[str]:
        """Other refresh tokens of the grant: obtained by who came too late, and the one that was replaced last.

        Only asked for when the connection's own is refused, so that nothing is risked by trying them.
        """
        connection, credential = attempt.connection, attempt.credential
        current = await until_stored(
            lambda: self._records.read(connection.id), what=f"record of {connection.id}", attempts=_ATTEMPTS_TO_NOTE
        )
        if current is None or current.generation != connection.generation:
            # Refused because it is already replaced; noting the refusal finds that out, too.
            return []
        found = dict.fromkeys(await self._parked.candidates(connection))
        if credential.previous_refresh_token is not None:
            found[credential.previous_refresh_token] = None
        return [token for token in found if token != credential.refresh_token]

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
            return access_token_refused()
        if account is None:
            return ReauthRequired("there is no refresh token, and the provider can't be asked about the access token")
        return ProviderError("the provider gave no refresh token, and it still accepts the access token")

    async def _note_failure(self, attempt: Attempt, error: BrokerError, request_id: str | None) -> bool:
        """Note what went wrong; ``False`` if the record left its generation meanwhile."""
        before, now, dead = attempt.connection, self._clock(), isinstance(error, GrantOver)
        fault, failures = fault_of(error, at=now), before.health.consecutive_failures + 1
        health = replace(
            before.health,
            consecutive_failures=failures,
            last_error=fault,
            next_refresh_at=schedule.after_failure(
                before,
                attempt.provider,
                error,
                failures=failures,
                now=now,
                has_refresh_token=attempt.credential.refresh_token is not None,
            ),
        )
        event_type = "connection.reauth_required" if dead else "credential.refresh_failed"
        event = self._event(event_type, before, request_id, {"reason": fault.code})
        return await until_stored(
            lambda: self._records.annotate(
                before,
                status=Status.REAUTH_REQUIRED if dead else None,
                health=health,
                updated_at=now,
                event=event,
                lease=attempt.tenure.lease,
                # The provider read the request and said no, or never saw it: the refresh token is as it was, unless an
                # earlier request has used it up.
                settles_intent=not isinstance(error, _SPENT_PERHAPS) and attempt.unknown_since is None,
            ),
            what=f"failed refresh of {before.id}",
            attempts=_ATTEMPTS_TO_NOTE,
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

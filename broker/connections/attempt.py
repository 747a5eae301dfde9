"""One attempt under its lease: one POST, then commit before anything else is judged, or note what went wrong.

What the provider answered is committed first, fenced by the generation it replaces, and the commit is repeated until
the store confirms it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.persistence import until_stored
from broker.connections.verdict import (
    GrantOver,
    access_token_expired,
    access_token_refused,
    blameless,
    fault_of,
    outcome_of,
    refresh_token_refused,
)
from broker.errors import (
    BrokerError,
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    ReauthRequired,
    UnusableToken,
)
from broker.models.connection import Account, Connection, Credential, Health, Status
from broker.models.event import Event
from broker.observe import metrics
from broker.providers import Provider
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.records import Lease, Records

_ATTEMPTS_TO_NOTE: Final = 5
"""Writes of a failure before it is given up, within a second: unsettled, the intent would hold the next refresh up."""

_SPENT_PERHAPS: Final = (OutcomeUnknown, UnusableToken)
"""After these the refresh token may be used up."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One refresh under its lease."""

    connection: Connection
    credential: Credential
    provider: Provider
    lease: Lease
    refused: bool
    """A caller says that the provider no longer accepts the access token."""

    def may_send(self, now: int) -> bool:
        """Whether sending the refresh token can do no harm: it was not sent before, or may be sent again."""
        since = self.lease.unknown_since
        return since is None or self.provider.refresh.may_repeat(since=(now - since) / 1000)


class Attempts:
    """Carries attempts out."""

    def __init__(self, records: Records, upstream: Upstream, clock: Clock) -> None:
        self._records = records
        self._upstream = upstream
        self._clock = clock

    async def carry_out(self, attempt: Attempt, request_id: str | None) -> None:
        """Refresh, and return once the new credential is stored; or the record has left its generation meanwhile.

        :raises ReauthRequired: the grant is over, or only the person can tell.
        :raises ProviderError, ProviderUnavailable: it was refused, not sent, or its outcome is unknown.
        :raises StoreUnavailable: what went wrong could not be noted.
        """
        connection, provider = attempt.connection, attempt.provider
        if not attempt.may_send(self._clock()) and await self._something_to_lose(attempt):
            # Whether the provider took the earlier request is unknown, and asking again could end the grant.
            unknown = OutcomeUnknown("the outcome of an earlier refresh is unknown", retry_after=5)
            if connection.health.last_error is None:
                await self._note_failure(attempt, unknown, request_id)
            else:
                await self._records.drop(attempt.lease)
            raise unknown
        try:
            tokens = await self._ask_provider(attempt)
        except BrokerError as caught:
            error = blameless(caught)
            metrics.refreshes.labels(provider.name, outcome_of(error)).inc()
            if not await self._note_failure(attempt, error, request_id):
                # The record has left this generation: the failure was about a credential that is already replaced.
                return
            if isinstance(error, GrantOver):
                raise ReauthRequired("the connection has to be authorized again") from None
            raise error from None
        metrics.refreshes.labels(provider.name, "ok").inc()
        await self._commit(attempt, tokens, request_id)

    async def _something_to_lose(self, attempt: Attempt) -> bool:
        """Whether the access token may still work, so that ending the grant would take something from somebody."""
        connection = attempt.connection
        if not connection.outlives(self._clock()):
            return False
        if not attempt.refused:
            return True
        try:
            account = await self._whose(attempt)
        except BrokerError as error:
            return not (isinstance(error, ProviderRefused) and error.error == "invalid_token")
        # Where the provider can't be asked, the caller's word has to do, unless the token's end can be waited for.
        return account is not None or connection.access_token_expires_at is not None

    async def _whose(self, attempt: Attempt) -> Account | None:
        return await self._upstream.identify(
            attempt.provider,
            attempt.connection.parameters,
            access_token=attempt.credential.access_token,
            credential_type=attempt.connection.credential_type,
            scopes=attempt.connection.scopes,
            secrets=attempt.credential.secrets,
        )

    async def _ask_provider(self, attempt: Attempt) -> TokenSet:
        connection, provider, secrets = attempt.connection, attempt.provider, attempt.credential.secrets
        if connection.credential_type == "client_credentials":
            return await self._upstream.client_credentials(
                provider, connection.parameters, scopes=connection.requested_scopes, secrets=secrets
            )
        refresh_token = attempt.credential.refresh_token
        if refresh_token is None:
            raise await self._verdict_without_refresh_token(attempt)
        try:
            return await self._upstream.refresh(
                provider, connection.parameters, refresh_token=refresh_token, scopes=connection.scopes, secrets=secrets
            )
        except ProviderRefused as error:
            if error.error != "invalid_grant":
                raise
            raise refresh_token_refused(outcome_unknown=attempt.lease.unknown_since is not None) from None

    async def _verdict_without_refresh_token(self, attempt: Attempt) -> BrokerError:
        """What is wrong with a credential that can't be refreshed.

        That a caller saw a refusal does not end a grant: before its time, an access token is only dead if the provider
        says so to us, too.
        """
        connection = attempt.connection
        if not connection.outlives(self._clock()):
            return access_token_expired()
        try:
            account = await self._whose(attempt)
        except ProviderRefused as error:
            if error.error != "invalid_token":
                raise
            return access_token_refused()
        if account is None:
            return ReauthRequired("there is no refresh token, and the provider can't be asked about the access token")
        return ProviderError("the provider gave no refresh token, and it still accepts the access token")

    async def _commit(self, attempt: Attempt, tokens: TokenSet, request_id: str | None) -> None:
        before, now = attempt.connection, self._clock()
        after = replace(
            before,
            generation=before.generation + 1,
            scopes=tokens.scopes,
            provider_data={**before.provider_data, **tokens.provider_data},
            access_token_expires_at=tokens.expires_at,
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

    async def _superseded(self, attempt: Attempt, credential: Credential) -> None:
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

    async def _note_failure(self, attempt: Attempt, error: BrokerError, request_id: str | None) -> bool:
        """Note what went wrong; ``False`` if the record left its generation meanwhile."""
        before, now, dead = attempt.connection, self._clock(), isinstance(error, GrantOver)
        fault = fault_of(error, at=now)
        health = replace(
            before.health,
            consecutive_failures=before.health.consecutive_failures + 1,
            last_error=fault,
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
                lease=attempt.lease,
                # The provider read the request and said no, or never saw it: the refresh token is as it was, unless an
                # earlier request has used it up.
                settles_intent=not isinstance(error, _SPENT_PERHAPS) and attempt.lease.unknown_since is None,
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


def rotated(before: Credential, tokens: TokenSet) -> Credential:
    """The credential after a refresh: the old refresh token stays when none came (RFC 6749 §6).

    The replaced one is kept beside the new one until that has worked once.
    """
    if tokens.refresh_token is None or tokens.refresh_token == before.refresh_token:
        return Credential(tokens.access_token, before.refresh_token)
    return Credential(tokens.access_token, tokens.refresh_token, before.refresh_token)

"""What a provider granted, on its way into the record: committed before anything about it is judged.

The new refresh token exists only here until it is stored, so the commit is repeated until the store has it. Whoever
finds that somebody else was faster keeps what it has beside the record, for the case that it is needed.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from broker.clock import Clock
from broker.connections import schedule
from broker.connections.durability import Durability
from broker.connections.persistence import WITHIN_A_SECOND, until_stored
from broker.connections.verdict import GrantOver, fault_of, grants_crossed, scopes_gone, scopes_lost
from broker.connections.whoami import refuses_token, whose
from broker.errors import BrokerError, ReauthRequired
from broker.models.connection import Connection, Credential, Health, Status
from broker.models.event import Event
from broker.observe import steps
from broker.providers import Provider
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.leases import Lease
from broker.vault.parked import Parked
from broker.vault.records import Records, Written

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Renewal:
    """A new credential on its way into the record."""

    before: Connection
    after: Connection
    credential: Credential
    provider: Provider
    lease: Lease
    request_id: str | None


class Commits:
    """Stores what refreshes obtained."""

    def __init__(
        self, records: Records, parked: Parked, durability: Durability, upstream: Upstream, clock: Clock
    ) -> None:
        self._records = records
        self._parked = parked
        self._durability = durability
        self._upstream = upstream
        self._clock = clock

    async def commit(
        self,
        before: Connection,
        replaced: Credential,
        tokens: TokenSet,
        *,
        provider: Provider,
        lease: Lease,
        request_id: str | None,
    ) -> None:
        """Put ``tokens`` in the place of the credential ``replaced``; returns when callers can be served.

        :raises ReauthRequired: it is stored, and turned out to be of no use.
        """
        credential = rotated(replaced, tokens)
        after = self._renewed(before, credential, tokens, provider)
        new = _Renewal(before, after, credential, provider, lease, request_id)
        if not await self._store(new):
            await self._superseded(new)
            return
        await steps.reached("refresh.committed")
        if scopes_gone(before.scopes, after.scopes):
            await self._end(after, scopes_lost(before.scopes), request_id)

    async def doubt(self, before: Connection, provider: Provider, request_id: str | None) -> None:
        """A refresh token was refused that somebody else had replaced: sending it may have ended their grant.

        :raises ReauthRequired: it has.
        """
        found = await self._records.read_with_credential(before.id)
        if found is None or found[1] is None or not provider.refresh.reuse_ends_grant:
            return
        current, credential = found[0], found[1]
        if current.generation == before.generation or current.grant_id != before.grant_id:
            return
        if current.status is Status.ACTIVE and not await self._lives(current, credential, provider):
            await self._end(current, grants_crossed(), request_id)

    async def _store(self, new: _Renewal) -> bool:
        event = Event.about(
            "credential.refreshed",
            new.before,
            at=self._clock(),
            request_id=new.request_id,
            generation=new.after.generation,
        )

        async def write() -> Written:
            # Fenced and marked as this attempt's, so repeating one whose answer was lost changes nothing.
            return await self._records.replace(new.before, new.after, new.credential, event, lease=new.lease)

        async def write_again() -> Written:
            written = await write()
            if not written.stored:
                await self._lost(new)
            if written.given_up:
                # After a failover that had lost it, somebody saw the old refresh token refused.
                with suppress(ReauthRequired):
                    await self._bring_back(new)
            return written

        written = await until_stored(write, what=f"refreshed credential of {new.before.id}")
        if not written.stored:
            return False
        self._durability.follow(new.after, written, write_again)
        if written.given_up:
            await self._bring_back(new)
        return True

    async def _lost(self, new: _Renewal) -> None:
        """Our commit is gone: either it was refreshed again, which is fine, or a failover lost it."""
        current = await until_stored(lambda: self._records.read(new.before.id), what=f"record of {new.before.id}")
        if current is not None and current.generation == new.after.generation:
            # Somebody refreshed the credential before it, too. Whose of the two lives, the provider knows.
            await self._superseded(new)

    async def _superseded(self, new: _Renewal) -> None:
        """Somebody else's credential stands in the record. Keep this one beside it, or give it back."""
        log.warning("refresh.superseded", connection_id=new.before.id)
        refresh_token = new.credential.refresh_token
        if refresh_token is None or new.credential.previous_refresh_token is None:
            # Nothing new but an access token, which nobody will miss.
            current = await until_stored(lambda: self._records.read(new.before.id), what=f"record of {new.before.id}")
            status = current.status if current is not None and current.grant_id == new.before.grant_id else None
        else:
            status = await until_stored(
                lambda: self._parked.park(new.before, refresh_token), what=f"parked for {new.before.id}"
            )
            await steps.reached("refresh.parked")
        if status is None or status is Status.REVOKED:
            await self._give_back(new)
        elif status is Status.REAUTH_REQUIRED:
            # Given up while this was on its way. It is of the same grant, so it may be what was missing.
            current = await until_stored(lambda: self._records.read(new.before.id), what=f"record of {new.before.id}")
            if current is not None and current.grant_id == new.before.grant_id:
                later = replace(new.after, generation=current.generation + 1)
                await self._store(replace(new, before=current, after=later))

    async def _give_back(self, new: _Renewal) -> None:
        """Disconnected or authorized anew meanwhile: what the provider just issued is nobody's."""
        if new.provider.revoking_ends_grant:
            # Whoever disconnected has asked for the end of the whole grant, or spared it for another connection.
            return
        await self._upstream.revoke(
            new.provider,
            new.before.parameters,
            access_token=new.credential.access_token,
            refresh_token=new.credential.refresh_token,
        )

    async def _bring_back(self, new: _Renewal) -> None:
        """The refresh token was refused to somebody else only because this refresh had used it: it is no end.

        Unless the second request ended the grant. So the provider is asked first; until then nothing is served.
        """
        await steps.reached("refresh.given_up")
        connection = new.after
        if not await self._lives(connection, new.credential, new.provider):
            await self._end(connection, grants_crossed(), new.request_id)
            return
        await until_stored(
            lambda: self._records.annotate(
                connection, status=Status.ACTIVE, health=connection.health, updated_at=connection.updated_at
            ),
            what=f"return of {connection.id}",
        )

    async def _lives(self, connection: Connection, credential: Credential, provider: Provider) -> bool:
        """Whether the provider accepts the access token that it has just issued, as far as it can be asked."""
        try:
            await whose(self._upstream, provider, connection, credential)
        except BrokerError as error:
            log.info("refresh.verified", connection_id=connection.id, outcome=error.detail)
            return not refuses_token(error)
        return True

    async def _end(self, connection: Connection, verdict: GrantOver, request_id: str | None) -> None:
        now = self._clock()
        fault = fault_of(verdict, at=now)
        health = replace(connection.health, last_error=fault, consecutive_failures=1, next_refresh_at=None)
        event = Event.about("connection.reauth_required", connection, at=now, request_id=request_id, reason=fault.code)
        noted = await until_stored(
            lambda: self._records.annotate(
                connection, status=Status.REAUTH_REQUIRED, health=health, updated_at=now, event=event
            ),
            what=f"end of {connection.id}",
            attempts=WITHIN_A_SECOND,
        )
        if noted:
            raise ReauthRequired("the connection has to be authorized again")

    def _renewed(self, before: Connection, credential: Credential, tokens: TokenSet, provider: Provider) -> Connection:
        """The connection as it is with the new tokens."""
        now = self._clock()
        # RFC 6749 §5.1 knows no empty scope; who sends one in the answer to a refresh says nothing.
        scopes = tokens.scopes or before.scopes
        lost = [scope for scope in before.scopes if scope not in scopes]
        rotates = credential.previous_refresh_token is not None
        kept_end = None if rotates else before.refresh_token_expires_at
        after = replace(
            before,
            generation=before.generation + 1,
            scopes=scopes,
            provider_data={**before.provider_data, **tokens.provider_data},
            access_token_expires_at=tokens.expires_at,
            refresh_token_expires_at=tokens.refresh_token_expires_at or kept_end,
            updated_at=now,
            health=Health(
                last_checked_at=before.health.last_checked_at,
                last_refreshed_at=now,
                # A record of a version that tested nothing has none.
                next_check_at=before.health.next_check_at or schedule.next_check(provider, now=now),
                last_error=fault_of(scopes_lost(lost), at=now) if lost else None,
            ),
        )
        due = schedule.after_success(after, provider, now=now, has_refresh_token=credential.refresh_token is not None)
        return replace(after, health=replace(after.health, next_refresh_at=due))


def rotated(before: Credential, tokens: TokenSet) -> Credential:
    """The credential after a refresh: the old refresh token stays when none came (RFC 6749 §6).

    The replaced one is kept beside the new one until that has worked once.
    """
    if tokens.refresh_token is None or tokens.refresh_token == before.refresh_token:
        return replace(before, access_token=tokens.access_token, previous_refresh_token=None)
    return Credential(tokens.access_token, tokens.refresh_token, before.refresh_token, before.fields)

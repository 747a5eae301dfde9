"""A connection's life outside of browsers and fetches: refreshed on demand, tested, ended."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from broker.clock import Clock
from broker.connections import schedule
from broker.connections.giving_back import GivingBack
from broker.connections.refresh import Refresher
from broker.connections.verdict import fault_of
from broker.connections.whoami import refuses_token, tells_nothing, whose
from broker.errors import (
    BrokerError,
    Conflict,
    NotFound,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    ReauthRequired,
    StoreUnavailable,
)
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Ending, Status, unusable
from broker.models.event import Event
from broker.observe import metrics
from broker.providers import Registry
from broker.upstream.facade import Upstream
from broker.vault.parked import Parked
from broker.vault.records import Records
from broker.vault.revocations import Job, Revocations
from broker.vault.siblings import Siblings

ENDED_STAYS: Final = 30 * 86_400_000
"""How long a disconnected connection can still be read, in milliseconds."""
_ATTEMPTS: Final = 4

_NOTHING_TO_REVOKE: Final = Ending("unsupported", None, "there was no credential left to revoke")
_NOT_OURS_TO_REVOKE: Final = Ending(
    "unsupported", None, "the broker has erased it; a credential of this kind is revoked at the provider by who made it"
)
_BEING_GIVEN_BACK: Final = Ending("pending", None, "the credential is being given back to the provider")


class Lifecycle:
    """Tests, refreshes and ends connections."""

    def __init__(
        self,
        records: Records,
        parked: Parked,
        siblings: Siblings,
        revocations: Revocations,
        giving_back: GivingBack,
        refresher: Refresher,
        upstream: Upstream,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._records = records
        self._parked = parked
        self._siblings = siblings
        self._revocations = revocations
        self._giving_back = giving_back
        self._refresher = refresher
        self._upstream = upstream
        self._providers = providers
        self._clock = clock

    async def refresh(self, connection: Connection, *, request_id: str | None) -> Connection:
        """Refresh now, whatever the access token's age; answers the connection afterwards.

        :raises Conflict: its credential is of a kind that nobody renews.
        :raises NotFound, ReauthRequired, ProviderError, ProviderUnavailable: as :meth:`Refresher.refresh`.
        """
        if connection.status is Status.ACTIVE and connection.static:
            raise Conflict("a credential of this kind is not renewed; a test says whether it still works")
        await self._refresher.refresh(connection.id, connection.generation, request_id=request_id)
        return await self._reread(connection)

    async def test(self, connection: Connection, *, request_id: str | None, unasked: bool = False) -> Account | None:
        """Ask the provider whose account it is, with a fresh token; ``None`` where the provider can't be asked that.

        What it says is noted in the connection's health; and whose account it is, where nobody knew. A credential that
        was handed in and was refused is asked about again: it is active again if it works again.

        :param unasked: nobody waits for the answer. Then what tells nothing about the credential is not noted.
        :raises Conflict: the connection is switched off.
        :raises NotConfigured: the providers file lacks its provider.
        :raises ReauthRequired, ProviderError, ProviderUnavailable: the credential does not work, or nobody knows.
        """
        refused_before = connection.static and connection.status is Status.REAUTH_REQUIRED
        if connection.status is not Status.ACTIVE and not refused_before:
            raise unusable(connection.status)
        # Before a refresh, and whatever its token's age.
        self._providers.of_connection(connection.provider)
        if not connection.outlives(self._clock()):
            connection = await self.refresh(connection, request_id=request_id)
        try:
            return await self._checked(connection, unasked=unasked, goes_on=not refused_before)
        except ProviderRefused as error:
            if not refuses_token(error):
                raise
            if refused_before:
                raise unusable(connection.status) from None
        # Dead before its time; a refresh tells whether the grant is, too.
        await self._refresher.refresh(connection.id, connection.generation, refused=True, request_id=request_id)
        return await self._checked(await self._reread(connection), unasked=unasked)

    async def test_unless_lately(self, connection_id: str, *, since: int) -> None:
        """:meth:`test` the connection unasked, unless somebody has since the moment ``since`` (ms), or it is gone.

        :raises BrokerError: as :meth:`test`.
        """
        connection = await self._records.read(connection_id)
        if connection is not None and (connection.health.last_checked_at or 0) <= since:
            await self.test(connection, request_id=None, unasked=True)

    async def _checked(self, connection: Connection, *, unasked: bool, goes_on: bool = False) -> Account | None:
        """Ask the provider, and note how that went.

        :param goes_on: a refusal isn't the end: what comes of it is noted by who goes on.
        """
        try:
            account = await self._identify(connection)
        except (ProviderError, ProviderUnavailable) as error:
            if not (unasked and tells_nothing(error)) and not (goes_on and refuses_token(error)):
                await self._note_check(connection, error)
            raise
        if account is not None:
            # Otherwise nothing was asked, so nothing is known: what the last failure said still stands.
            await self._note_check(connection, account=account if connection.account is None else None)
        elif connection.status is not Status.ACTIVE:
            raise unusable(connection.status)
        return account

    async def _note_check(
        self, connection: Connection, error: BrokerError | None = None, *, account: Account | None = None
    ) -> None:
        """Note how a test went, unless somebody has noted something else of this credential meanwhile.

        :param account: whose it is, if that wasn't known before.
        """
        now, before = self._clock(), connection.health
        failures = 0 if error is None else before.consecutive_failures + 1
        fault = None if error is None else fault_of(error, at=now)
        health = replace(
            before,
            last_checked_at=now,
            consecutive_failures=failures,
            last_error=fault,
            next_check_at=schedule.next_check(self._providers.get(connection.provider), now=now, failures=failures),
        )
        works_again = error is None and connection.status is Status.REAUTH_REQUIRED
        told = "connection.recovered" if works_again else "connection.identified" if account else None
        event = Event.about(told, connection, at=now) if told else None
        status = Status.ACTIVE if works_again else None
        noted = await self._records.annotate(
            connection, status=status, health=health, account=account, instead_of=before, updated_at=now, event=event
        )
        if noted and account is not None:
            # Broken off here it stands among those that nobody knows, which all others reckon with.
            await self._records.index(replace(connection, account=account), formerly=connection)

    async def disconnect(self, connection: Connection, *, client_id: str | None, request_id: str | None) -> Ending:
        """End the connection; its credential is unusable when this returns, whatever the provider says.

        A revocation that could not be carried out is kept, sealed, and retried for up to a day. Repeating the
        call answers what became of it.

        :raises NotFound: the connection is gone.
        :raises Conflict: it is being changed by somebody else, repeatedly.
        :raises SealBroken: its credential can't be opened, so it can't be given back; the record is kept.
        """
        job = None
        if connection.status is not Status.REVOKED:
            job = await self._take_out_of_use(connection.id, client_id, request_id)
        if job is None:
            return await self._records.ending(connection.id) or _BEING_GIVEN_BACK
        await self._siblings.leave(connection)
        if isinstance(job, Ending):
            await self._giving_back.note(connection.id, job, client_id=client_id, request_id=request_id)
            ending = job
        else:
            ending = await self._giving_back.give_back(job, client_id=client_id, request_id=request_id)
        metrics.connections_ended.labels(connection.provider, ending.outcome).inc()
        return ending

    async def _take_out_of_use(
        self, connection_id: str, client_id: str | None, request_id: str | None
    ) -> Job | Ending | None:
        """Erase the credential from the record; answers what is to be given back, or why nothing is.

        ``None``: somebody else was faster, and gives it back.
        """
        unconfirmed: Job | Ending | None = None
        for attempts_left in reversed(range(_ATTEMPTS)):
            found = await self._records.read_with_credential(connection_id)
            if found is None:
                raise NotFound("no such connection")
            connection, credential = found
            if connection.status is Status.REVOKED:
                return unconfirmed
            parked = await self._parked.candidates(connection)
            job = _job(connection, credential, parked.refresh_tokens)
            event = Event.about(
                "connection.revoked", connection, at=self._clock(), client_id=client_id, request_id=request_id
            )
            try:
                if await self._revocations.disconnect(
                    connection,
                    job if isinstance(job, Job) else None,
                    event,
                    stays=ENDED_STAYS,
                    parked=parked.count,
                ):
                    return job
            except StoreUnavailable:
                if not attempts_left:
                    raise
                unconfirmed = job
        raise Conflict("the connection is being changed by somebody else")

    async def _identify(self, connection: Connection) -> Account | None:
        found = await self._records.read_with_credential(connection.id)
        if found is None or found[1] is None:
            raise ReauthRequired("the connection has to be authorized again")
        current, credential = found[0], found[1]
        account = await whose(self._upstream, self._providers.get(current.provider), current, credential)
        if account and current.account and account.id != current.account.id:
            raise ProviderError("the access token belongs to another account than the connection stands for")
        return account

    async def _reread(self, connection: Connection) -> Connection:
        current = await self._records.read(connection.id)
        if current is None:
            raise NotFound("no such connection")
        return current


def _job(connection: Connection, credential: Credential | None, parked: Sequence[str]) -> Job | Ending:
    if credential is None:
        return _NOTHING_TO_REVOKE
    if connection.static:
        # Not even sealed does it stay any longer.
        return _NOT_OURS_TO_REVOKE
    return Job(
        connection_id=connection.id,
        provider=connection.provider,
        parameters=connection.parameters,
        access_token=credential.access_token,
        refresh_token=credential.refresh_token,
        parked=tuple(parked),
    )

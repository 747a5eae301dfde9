"""A connection's life outside of browsers and fetches: made without a person, refreshed on demand, tested, ended."""

from dataclasses import replace
from typing import Final

from broker.clock import Clock
from broker.connections.authorization import Authorizations, Wanted
from broker.connections.refresh import Refresher
from broker.connections.verdict import fault_of, unusable
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
from broker.models.connection import Account, Connection, Credential, Ending, Status
from broker.models.event import Event
from broker.observe import metrics
from broker.providers import Registry
from broker.upstream.facade import Upstream
from broker.upstream.parameters import check_parameters, check_scopes
from broker.vault.records import Records
from broker.vault.revocations import Job, Revocations
from broker.vault.siblings import Siblings

ENDED_STAYS: Final = 30 * 86_400_000
"""How long a disconnected connection can still be read, in milliseconds."""
_ATTEMPTS: Final = 4

_NOTHING_TO_REVOKE: Final = Ending("unsupported", None, "there was no credential left to revoke")
_BEING_GIVEN_BACK: Final = Ending("pending", None, "the credential is being given back to the provider")
_SKIPPED_SHARED: Final = Ending(
    "skipped_shared",
    None,
    "revoking would end the grant of another connection to the same account, so only this connection was ended",
)
_UNDECIDED: Final = Ending(
    "pending",
    None,
    "an account is being connected at this moment, perhaps the same one; whether to revoke is decided when it is",
)
_OUT_OF_TIME: Final = Ending(
    "failed",
    None,
    "the provider could not be asked to revoke it within a day; the credential was erased, and may live on there",
)


class Lifecycle:
    """Makes, tests, refreshes and ends connections."""

    def __init__(
        self,
        records: Records,
        siblings: Siblings,
        revocations: Revocations,
        authorizations: Authorizations,
        refresher: Refresher,
        upstream: Upstream,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._records = records
        self._siblings = siblings
        self._revocations = revocations
        self._authorizations = authorizations
        self._refresher = refresher
        self._upstream = upstream
        self._providers = providers
        self._clock = clock

    async def connect_app(self, wanted: Wanted) -> Connection:
        """A connection of the OAuth app itself, by the provider's client credentials grant (RFC 6749 §4.4).

        :raises Conflict: the provider lacks settings or that grant.
        :raises ProviderError, ProviderUnavailable: the provider gives no token.
        """
        provider = wanted.provider
        if not provider.ready:
            raise Conflict(f"the provider is not ready: {', '.join(provider.missing)} missing")
        if "client_credentials" not in provider.grant_types:
            raise Conflict("the provider has no client credentials grant")
        check_scopes(provider, wanted.requested_scopes)
        wanted = replace(wanted, parameters=check_parameters(provider, wanted.parameters))
        tokens = await self._upstream.client_credentials(
            provider, wanted.parameters, scopes=tuple(wanted.requested_scopes)
        )
        return await self._authorizations.store(wanted, tokens)

    async def refresh(self, connection: Connection, *, request_id: str | None) -> Connection:
        """Refresh now, whatever the access token's age; answers the connection afterwards.

        :raises NotFound, ReauthRequired, ProviderError, ProviderUnavailable: as :meth:`Refresher.refresh`.
        """
        await self._refresher.refresh(connection.id, connection.generation, request_id=request_id)
        return await self._reread(connection)

    async def test(self, connection: Connection, *, request_id: str | None) -> Account | None:
        """Ask the provider whose account it is, with a fresh token; ``None`` where the provider can't be asked that.

        What it says is noted in the connection's health.

        :raises Conflict: the connection is switched off, or its provider is no longer configured.
        :raises ReauthRequired, ProviderError, ProviderUnavailable: the credential does not work, or nobody knows.
        """
        if connection.status is not Status.ACTIVE:
            raise unusable(connection.status)
        if connection.provider not in self._providers:
            raise Conflict("the connection's provider is no longer in the providers file")
        if not connection.outlives(self._clock()):
            connection = await self.refresh(connection, request_id=request_id)
        try:
            return await self._checked(connection)
        except ProviderRefused as error:
            if error.error != "invalid_token":
                raise
        # Dead before its time; a refresh tells whether the grant is, too.
        await self._refresher.refresh(connection.id, connection.generation, refused=True, request_id=request_id)
        return await self._checked(await self._reread(connection))

    async def _checked(self, connection: Connection) -> Account | None:
        """Ask the provider, and note how that went."""
        try:
            account = await self._identify(connection)
        except (ProviderError, ProviderUnavailable) as error:
            await self._note_check(connection, error)
            raise
        if account is not None:
            # Otherwise nothing was asked, so nothing is known: what the last failure said still stands.
            await self._note_check(connection)
        return account

    async def _note_check(self, connection: Connection, error: BrokerError | None = None) -> None:
        """Note how a test went, unless somebody has noted something else of this credential meanwhile."""
        now, before = self._clock(), connection.health
        failures = 0 if error is None else before.consecutive_failures + 1
        fault = None if error is None else fault_of(error, at=now)
        health = replace(before, last_checked_at=now, consecutive_failures=failures, last_error=fault)
        await self._records.annotate(connection, health=health, instead_of=before, updated_at=now)

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
            await self._records.note_ending(connection.id, job)
            ending = job
        else:
            ending = await self.give_back(job)
        metrics.connections_ended.labels(connection.provider, ending.outcome).inc()
        return ending

    async def give_back(self, job: Job) -> Ending:
        """Revoke at the provider what an ended connection held, note the outcome, and erase it unless ``pending``.

        Whether that would end somebody else's grant is asked each time before anything is sent: while a revocation
        was pending, the account may have been connected again.
        """
        ending = await self._obstacle(job)
        if ending is None:
            outcome = await self._upstream.revoke(
                self._providers.get(job.provider),
                job.parameters,
                access_token=job.access_token,
                refresh_token=job.refresh_token,
            )
            ending = Ending(outcome.outcome, outcome.status, outcome.detail or None)
        await self._records.note_ending(job.connection_id, ending)
        if ending.outcome != "pending":
            await self._revocations.drop(job.connection_id)
        return ending

    async def give_up(self, connection_id: str) -> None:
        """Note that an ended connection's credential could not be given back in time, where nothing better is noted."""
        noted = await self._records.ending(connection_id)
        if noted is None or noted.outcome == "pending":
            await self._records.note_ending(connection_id, _OUT_OF_TIME)
        await self._revocations.drop(connection_id)

    async def _obstacle(self, job: Job) -> Ending | None:
        """Why nothing may be sent to the provider, or ``None``."""
        if job.provider not in self._providers:
            return Ending("failed", None, "the provider is no longer configured")
        provider, ended = self._providers.get(job.provider), await self._records.read(job.connection_id)
        if ended is None or ended.minted.client_id != provider.client_id:
            # Another app's revocation endpoint has no business with this token.
            return Ending("failed", None, "the provider is configured with another OAuth app than the one authorized")
        if not provider.revoking_ends_grant:
            return None
        # Asked first: who is no longer expected is listed.
        expecting = await self._siblings.expecting(ended.minted, now=self._clock())
        if await self._has_sibling(ended):
            return _SKIPPED_SHARED
        return _UNDECIDED if expecting else None

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
            job = _job(connection, credential)
            event = self._event(connection, client_id, request_id)
            try:
                if await self._revocations.disconnect(
                    connection, job if isinstance(job, Job) else None, event, stays=ENDED_STAYS
                ):
                    return job
            except StoreUnavailable:
                if not attempts_left:
                    raise
                unconfirmed = job
        raise Conflict("the connection is being changed by somebody else")

    async def _has_sibling(self, connection: Connection) -> bool:
        """Whether another living connection stands for the same account and app, in whichever tenant."""
        for sibling_id in await self._siblings.sharing(connection):
            sibling = None if sibling_id == connection.id else await self._records.read(sibling_id)
            if sibling is not None and sibling.status is not Status.REVOKED and same_grant(connection, sibling):
                return True
        return False

    async def _identify(self, connection: Connection) -> Account | None:
        found = await self._records.read_with_credential(connection.id)
        if found is None or found[1] is None:
            raise ReauthRequired("the connection has to be authorized again")
        current, credential = found[0], found[1]
        account = await self._upstream.identify(
            self._providers.get(current.provider),
            current.parameters,
            access_token=credential.access_token,
            credential_type=current.credential_type,
            scopes=current.scopes,
        )
        if account and current.account and account.id != current.account.id:
            raise ProviderError("the access token belongs to another account than the connection stands for")
        return account

    async def _reread(self, connection: Connection) -> Connection:
        current = await self._records.read(connection.id)
        if current is None:
            raise NotFound("no such connection")
        return current

    def _event(self, connection: Connection, client_id: str | None, request_id: str | None) -> Event:
        return Event(
            type="connection.revoked",
            tenant=connection.tenant,
            at=self._clock(),
            connection_id=connection.id,
            client_id=client_id,
            request_id=request_id,
            data={"provider": connection.provider},
        )


def _job(connection: Connection, credential: Credential | None) -> Job | Ending:
    if credential is None:
        return _NOTHING_TO_REVOKE
    return Job(
        connection_id=connection.id,
        provider=connection.provider,
        parameters=connection.parameters,
        access_token=credential.access_token,
        refresh_token=credential.refresh_token,
    )


def same_grant(one: Connection, other: Connection) -> bool:
    """Whether two connections may live from one grant: the same app and account, or one that nobody knows."""
    if one.minted != other.minted:
        return False
    return one.account is None or other.account is None or one.account.id == other.account.id

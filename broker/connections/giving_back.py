"""Giving the credential of an ended connection back to its provider, now or later, and recording what came of it."""

from typing import Final

from broker.clock import Clock
from broker.models.connection import Connection, Ending, Status
from broker.models.event import Event
from broker.providers import Registry
from broker.upstream.facade import Upstream
from broker.vault.records import Records
from broker.vault.revocations import Job, Revocations
from broker.vault.siblings import Siblings

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
_NOT_CONFIGURED: Final = Ending("pending", None, "the provider is not configured now; it may be again")
_OUT_OF_TIME: Final = Ending(
    "failed",
    None,
    "the provider could not be asked to revoke it within a day; the credential was erased, and may live on there",
)


class GivingBack:
    """Revokes what ended connections held. Only the provider's answer, or a reason that will stay, is an end of it."""

    def __init__(
        self,
        records: Records,
        siblings: Siblings,
        revocations: Revocations,
        upstream: Upstream,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._records = records
        self._siblings = siblings
        self._revocations = revocations
        self._upstream = upstream
        self._providers = providers
        self._clock = clock

    async def give_back(self, job: Job, *, client_id: str | None = None, request_id: str | None = None) -> Ending:
        """Revoke at the provider what an ended connection held, note the outcome, and erase it unless ``pending``.

        Whether that would end somebody else's grant is asked each time before anything is sent: while a revocation
        was pending, the account may have been connected again.
        """
        ending = await self._obstacle(job)
        if ending is None:
            ending = await self._revoke(job)
        await self.note(job.connection_id, ending, client_id=client_id, request_id=request_id)
        if ending.outcome != "pending":
            await self._revocations.drop(job.connection_id)
        return ending

    async def _revoke(self, job: Job) -> Ending:
        """Revoke the job's tokens; what is said of the own ones counts, unless another has to be tried again."""
        provider = self._providers.get(job.provider)
        own = await self._upstream.revoke(
            provider, job.parameters, access_token=job.access_token, refresh_token=job.refresh_token
        )
        endings = [Ending(own.outcome, own.status, own.detail or None)]
        for refresh_token in job.parked:
            other = await self._upstream.revoke(
                provider, job.parameters, access_token=None, refresh_token=refresh_token
            )
            endings.append(Ending(other.outcome, other.status, other.detail or None))
        return next((ending for ending in endings if ending.outcome == "pending"), endings[0])

    async def give_up(self, connection_id: str) -> None:
        """Note that the day of a revocation is over, if nothing else came of it, and forget that it was due."""
        await self.note(connection_id, _OUT_OF_TIME)
        await self._revocations.drop(connection_id)

    async def note(
        self, connection_id: str, ending: Ending, *, client_id: str | None = None, request_id: str | None = None
    ) -> None:
        """Note what became of an ended connection's credential; once it is known, record it, once."""
        connection, noted = await self._records.read(connection_id), await self._records.ending(connection_id)
        if connection is None or (noted is not None and noted.outcome != "pending"):
            return
        event = Event.about(
            "revocation.settled",
            connection,
            # After the event of the end itself: within one millisecond the record has no order.
            at=max(self._clock(), connection.updated_at + 1),
            client_id=client_id,
            request_id=request_id,
            outcome=ending.outcome,
            status=ending.status,
        )
        await self._records.note_ending(connection, ending, event if ending.outcome != "pending" else None)

    async def _obstacle(self, job: Job) -> Ending | None:
        """Why nothing may be sent to the provider, or ``None``."""
        if job.provider not in self._providers:
            return _NOT_CONFIGURED
        provider, ended = self._providers.get(job.provider), await self._records.read(job.connection_id)
        if provider.client_id is None:
            return _NOT_CONFIGURED
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

    async def _has_sibling(self, connection: Connection) -> bool:
        """Whether another living connection stands for the same account and app, in whichever tenant."""
        for sibling_id in await self._siblings.sharing(connection):
            sibling = None if sibling_id == connection.id else await self._records.read(sibling_id)
            if sibling is not None and sibling.status is not Status.REVOKED and same_grant(connection, sibling):
                return True
        return False


def same_grant(one: Connection, other: Connection) -> bool:
    """Whether two connections may live from one grant: the same app and account, or one that nobody knows."""
    if one.minted != other.minted:
        return False
    return one.account is None or other.account is None or one.account.id == other.account.id

"""Fetching an access token: released in one step while it is fresh, refreshed first when it is not."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from broker.clock import Clock
from broker.connections.refresh import Refresher
from broker.connections.standing_in import may_stand_in
from broker.errors import (
    BrokerError,
    Conflict,
    Forbidden,
    InvalidRequest,
    MissingProviderScopes,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    ReauthRequired,
)
from broker.models.access import Reach
from broker.models.connection import Connection, Status, unusable
from broker.models.event import Event
from broker.models.ids import new_id
from broker.providers import Registry
from broker.vault.records import Records
from broker.vault.release import Kept, Release, Releases

_WHATEVER_ITS_AGE: Final = 0


class ReferenceUnknown(InvalidRequest):
    """The reference is unknown, expired, spent, revoked, or made for another client: all answer the same."""


class Moved(Conflict):
    """The connection has another grant than the one it was judged by: it was authorized anew. Nothing was released."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is wanted of a connection."""

    reach: Reach
    withheld: frozenset[str]
    """Providers of which nothing is released."""
    min_ttl: int = 0
    refused_generation: int | None = None
    reference_digest: str | None = None
    whole: bool = False
    grant_id: str | None = None
    """The one that the connection was judged by."""
    alone: bool = False
    """No other will do."""

    @property
    def of_one_connection(self) -> bool:
        """Whether no other can do: a reference is for the one it was issued for, a bound token for the one it is bound
        to."""
        return self.alone or self.reference_digest is not None or self.reach.connection_id is not None


class Tokens:
    """Fetches access tokens for whoever may have them."""

    def __init__(
        self,
        releases: Releases,
        records: Records,
        refresher: Refresher,
        providers: Registry,
        withheld: Collection[str],
        tokenless: Collection[str],
        clock: Clock,
    ) -> None:
        """:param withheld: providers whose credentials never leave (``release: proxy_only``).
        :param tokenless: providers whose credentials are no tokens, so that none can be handed out."""
        self._releases = releases
        self._records = records
        self._providers = providers
        self._refresher = refresher
        self._withheld = frozenset(withheld)
        self._tokenless = frozenset(tokenless) - self._withheld
        self._clock = clock

    def permit_handing_out(self, connection: Connection) -> None:
        """Return if the connection's provider has tokens that may leave.

        :raises Forbidden: its credentials never leave the broker.
        :raises Conflict: they are no tokens.
        """
        kept = Kept("withheld", provider=connection.provider)
        if connection.provider in self._withheld | self._tokenless:
            raise self._refusal(kept)

    async def fetch(
        self,
        connection_id: str,
        *,
        reach: Reach,
        event: Event,
        min_ttl: int = 0,
        refused_generation: int | None = None,
        reference_digest: str | None = None,
    ) -> Release:
        """The connection's access token, with ``event`` stored before it is answered.

        :param min_ttl: seconds the token must outlive; one just refreshed is served even if it lives shorter.
        :param refused_generation: the provider refused this generation: refresh if it is still the current one.
        :param reference_digest: the reference that entitles the caller; spent only if a token is released.
        :raises NotFound: no such connection within ``reach``.
        :raises ReferenceUnknown: the reference entitles nobody, or somebody else.
        :raises ReauthRequired: the grant is gone.
        :raises MissingProviderScopes: the reference needs provider scopes that the connection lacks.
        :raises Forbidden: the provider's credentials never leave the broker, or the caller is held to certain requests.
        :raises Conflict: the connection is switched off, or has no token.
        :raises ProviderError, ProviderUnavailable: a refresh was needed and failed.
        :raises StoreUnavailable: the store can't be asked.
        """
        reach.permit_handing_out()
        wanted = _Wanted(
            reach,
            withheld=self._withheld | self._tokenless,
            min_ttl=min_ttl,
            refused_generation=refused_generation,
            reference_digest=reference_digest,
        )
        release = await self._or_fallback(connection_id, wanted, event)
        if self._providers.get(release.provider).takes_bearer:
            return release
        return replace(release, token_type="N_A")  # noqa: S106 - the name of a type

    async def use(
        self,
        connection_id: str,
        *,
        reach: Reach,
        event: Event,
        leaves: bool,
        grant_id: str | None = None,
        refused_generation: int | None = None,
        alone: bool = False,
    ) -> Release:
        """The connection with its whole credential, for a request that it is put on, with ``event`` stored before.

        :param leaves: whether what is put on the request leaves the broker other than on its way to the provider.
        :param grant_id: the grant of the connection by which the caller judged where the request goes.
        :param refused_generation: as with :meth:`fetch`.
        :param alone: the connection itself, and none that it names to serve in its place.
        :raises Moved: the connection has another grant by now.
        :raises BrokerError: as :meth:`fetch`.
        """
        wanted = _Wanted(
            reach,
            withheld=self._withheld if leaves else frozenset(),
            refused_generation=refused_generation,
            whole=True,
            grant_id=grant_id,
            alone=alone,
        )
        return await self._or_fallback(connection_id, wanted, event)

    async def _or_fallback(self, connection_id: str, wanted: _Wanted, event: Event) -> Release:
        """What is fetched, from the connection itself or from the one that it names to serve in its place."""
        try:
            return await self._fetch(connection_id, wanted, event)
        except ReauthRequired:
            other = None if wanted.of_one_connection else await self._standing_in_for(connection_id, wanted.reach)
            if other is None:
                raise
        named = {**event.data, "fallback_for": connection_id}
        event = replace(event, id=new_id("evt"), connection_id=other.id, data=named)
        try:
            # The generation that was refused, and the grant, are ones of the connection that was named.
            release = await self._fetch(other.id, replace(wanted, refused_generation=None, grant_id=None), event)
        except (Conflict, Forbidden, NotFound):
            raise unusable(Status.REAUTH_REQUIRED) from None
        if release.generation != other.generation and not await self._standing_in_for(connection_id, wanted.reach):
            # Given another account's credential in this very moment.
            raise unusable(Status.REAUTH_REQUIRED)
        return replace(release, fallback_for=connection_id)

    async def _standing_in_for(self, connection_id: str, reach: Reach) -> Connection | None:
        """The connection that serves while this one has to be authorized again; judged anew each time."""
        asked = await self._records.read(connection_id)
        if asked is None or asked.status is not Status.REAUTH_REQUIRED or asked.fallback is None:
            return None
        other = await self._records.read(asked.fallback)
        if other is None or not reach.covers(other.tenant, other.provider):
            return None
        return None if may_stand_in(asked, other, self._providers) else other

    async def _fetch(self, connection_id: str, wanted: _Wanted, event: Event) -> Release:
        refused_generation, min_ttl = wanted.refused_generation, wanted.min_ttl

        async def release(event: Event, outlive: int, *, refused: int | None = refused_generation) -> Release | Kept:
            return await self._releases.release(
                connection_id,
                reach=wanted.reach,
                withheld=wanted.withheld,
                event=event,
                outlive=outlive,
                refused_generation=refused,
                reference_digest=wanted.reference_digest,
                whole=wanted.whole,
                grant_id=wanted.grant_id,
            )

        if not wanted.reach.leads_to(connection_id):
            raise NotFound("no such connection")
        outcome = await release(event, event.at + min_ttl * 1000)
        if isinstance(outcome, Release):
            return outcome
        if outcome.generation is None:
            raise self._refusal(outcome)
        try:
            await self._refresher.refresh(
                connection_id,
                outcome.generation,
                min_ttl=min_ttl,
                refused=outcome.generation == refused_generation,
                request_id=event.request_id,
            )
        except (ProviderError, ProviderUnavailable, ReauthRequired):
            # A token that still lives is better than none, unless the provider refuses that very one.
            now = self._clock()
            outcome = await release(replace(event, at=now), now)
            if isinstance(outcome, Release):
                return outcome
            raise
        # The new one, whatever its age; the old one only while it lives. That it is still there happens where more life
        # was asked for than there is, or where a failover has lost the new one for a moment.
        now = self._clock()
        renewed = await release(replace(event, at=now), _WHATEVER_ITS_AGE, refused=outcome.generation)
        if isinstance(renewed, Kept) and renewed.reason == "stale":
            renewed = await release(replace(event, at=now), now)
        if isinstance(renewed, Release):
            return renewed
        raise self._refusal(renewed)

    def _refusal(self, kept: Kept) -> BrokerError:
        match kept.reason:
            case "absent":
                return NotFound("no such connection")
            case "reference":
                return ReferenceUnknown("the reference is unknown, expired, spent or made for another client")
            case "moved":
                return Moved("the connection was authorized anew in this very moment; try again")
            case "withheld" if kept.provider in self._tokenless:
                return Conflict("a credential of this kind is no token; ask for the authorization of a request instead")
            case "withheld":
                return Forbidden("this provider's credentials never leave the broker; call its API through the proxy")
            case "stale":
                return ProviderUnavailable("the credential is being replaced", retry_after=1)
            case "scopes":
                return MissingProviderScopes(kept.missing)
            case "status":
                return unusable(kept.status or Status.REAUTH_REQUIRED)

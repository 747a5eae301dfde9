"""Fetching an access token: released in one step while it is fresh, refreshed first when it is not."""

from dataclasses import replace
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
    NotConfigured,
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
from broker.vault.release import Claim, Kept, Release, Releases

_WHATEVER_ITS_AGE: Final = 0


class ReferenceUnknown(InvalidRequest):
    """The reference is unknown, expired, spent, revoked, or made for another client: all answer the same."""


class Moved(Conflict):
    """The connection has another grant than the one it was judged by: it was authorized anew. Nothing was released."""


class Tokens:
    """Fetches access tokens for whoever may have them."""

    def __init__(
        self,
        releases: Releases,
        records: Records,
        refresher: Refresher,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._releases = releases
        self._records = records
        self._providers = providers
        self._refresher = refresher
        self._all = frozenset(providers.names)
        self._leaving = frozenset(provider.name for provider in providers if provider.release != "proxy_only")
        self._handed_out = frozenset(provider.name for provider in providers if provider.hands_out_tokens)
        self._clock = clock

    def permit_handing_out(self, connection: Connection) -> None:
        """Return if the connection's provider has tokens that may leave.

        :raises Forbidden: its credentials never leave the broker.
        :raises Conflict: they are no tokens.
        :raises NotConfigured: the providers file lacks it.
        """
        if connection.provider not in self._handed_out:
            raise self._refusal(Kept("withheld", provider=connection.provider))

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
        :raises NotConfigured: the providers file lacks the connection's provider.
        :raises ProviderError, ProviderUnavailable: a refresh was needed and failed.
        :raises StoreUnavailable: the store can't be asked.
        """
        reach.permit_handing_out()
        claim = Claim(reach, self._handed_out, refused_generation, reference_digest)
        # A reference is for the connection it was issued for, a bound token for the one it is bound to.
        alone = reference_digest is not None or reach.connection_id is not None
        release = await self._release(connection_id, claim, event, min_ttl=min_ttl, alone=alone)
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
        released = self._leaving if leaves else self._all
        claim = Claim(reach, released, refused_generation, whole=True, grant_id=grant_id)
        return await self._release(connection_id, claim, event, alone=alone or reach.connection_id is not None)

    async def _release(
        self, connection_id: str, claim: Claim, event: Event, *, min_ttl: int = 0, alone: bool
    ) -> Release:
        """What is claimed, at once where the store can answer it in its one step.

        Otherwise the connection is refreshed first; or, unless it has to do ``alone``, the one serves that it names for
        while it has to be authorized again.
        """
        if not claim.reach.leads_to(connection_id):
            raise NotFound("no such connection")
        outcome = await self._releases.release(connection_id, claim, event, event.at + min_ttl * 1000)
        if isinstance(outcome, Release):
            return outcome
        try:
            if outcome.generation is None:
                raise self._refusal(outcome)
            return await self._refreshed(connection_id, claim, event, min_ttl, outcome.generation)
        except ReauthRequired:
            other = None if alone else await self._standing_in_for(connection_id, claim.reach)
            if other is None:
                raise
        named = {**event.data, "fallback_for": connection_id}
        event = replace(event, id=new_id("evt"), connection_id=other.id, data=named)
        try:
            # The generation that was refused, and the grant, are ones of the connection that was named.
            claim = replace(claim, refused_generation=None, grant_id=None)
            release = await self._release(other.id, claim, event, min_ttl=min_ttl, alone=True)
        except (Conflict, Forbidden, NotFound):
            raise unusable(Status.REAUTH_REQUIRED) from None
        if release.generation != other.generation and not await self._standing_in_for(connection_id, claim.reach):
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
        if other.provider not in self._providers:
            # It can't serve, and that the other one has to be authorized again holds whatever the file lacks.
            return None
        return None if may_stand_in(asked, other, self._providers) else other

    async def _refreshed(
        self, connection_id: str, claim: Claim, event: Event, min_ttl: int, stale_generation: int
    ) -> Release:
        """What is released once ``stale_generation`` has been refreshed, or, if that fails, while it still lives."""

        async def release(claim: Claim, outlive: int | None = None) -> Release | Kept:
            now = self._clock()
            return await self._releases.release(
                connection_id, claim, replace(event, at=now), now if outlive is None else outlive
            )

        try:
            await self._refresher.refresh(
                connection_id,
                stale_generation,
                min_ttl=min_ttl,
                refused=stale_generation == claim.refused_generation,
                request_id=event.request_id,
            )
        except (ProviderError, ProviderUnavailable, ReauthRequired):
            # A token that still lives is better than none, unless the provider refuses that very one.
            outcome = await release(claim)
            if isinstance(outcome, Release):
                return outcome
            raise
        # The new one, whatever its age; the old one only while it lives. That it is still there happens where more life
        # was asked for than there is, or where a failover has lost the new one for a moment.
        renewed = await release(replace(claim, refused_generation=stale_generation), _WHATEVER_ITS_AGE)
        if isinstance(renewed, Kept) and renewed.reason == "stale":
            renewed = await release(claim)
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
            case "withheld" if kept.provider not in self._all:
                return NotConfigured()
            case "withheld" if kept.provider in self._leaving:
                return Conflict("a credential of this kind is no token; ask for the authorization of a request instead")
            case "withheld":
                return Forbidden("this provider's credentials never leave the broker; call its API through the proxy")
            case "stale":
                return ProviderUnavailable("the credential is being replaced", retry_after=1)
            case "scopes":
                return MissingProviderScopes(kept.missing)
            case "status":
                return unusable(kept.status or Status.REAUTH_REQUIRED)

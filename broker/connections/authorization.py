"""From a provider's authorization to a stored connection: exchange, identity, account check, commit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from broker.clock import Clock
from broker.connections import schedule
from broker.connections.durability import Durability
from broker.connections.persistence import until_stored
from broker.errors import Conflict, NotFound
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Health, Minted, Status, Whoami
from broker.models.consent import KEPT, Consent, Means
from broker.models.event import Event
from broker.models.ids import new_id
from broker.observe import metrics
from broker.providers import Provider
from broker.upstream.endpoints import Endpoints
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.records import Records, Written

_ATTEMPTS: Final = 8
"""Writes of a new connection before it is given up: some five seconds, while a person waits."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a connection is to be made for, or renewed for."""

    tenant: str
    client_id: str | None
    """Whose wish it is; ``None``: the operator's, by a command."""
    subject: str
    """Empty: derived from the account."""
    provider: Provider
    credential_type: str
    requested_scopes: Sequence[str]
    parameters: Mapping[str, str]
    label: str | None
    metadata: Mapping[str, Any]
    renews: str | None = None
    """The connection to renew, if one is."""
    means: Means = "api"
    """How it came to be consented to."""
    session: str | None = None
    """The connect session, device authorization or batch that it comes through."""
    allow_account_change: bool = False
    validate: bool = True
    """Whether to ask the provider whose account it is; unasked, the account is unknown."""
    request_id: str | None = None
    connection_id: str | None = None
    """Of the connection to make, where its id was drawn before."""
    needed_scopes: Sequence[str] | None = None
    """What a credential that is handed in has to be good for; ``None``: for ``requested_scopes``."""
    handed_in: bool = False
    """What is stored is what was handed in, and not what the provider has just issued: nobody knows yet that it works,
    unless the provider was asked."""
    amend: Callable[[Connection, Connection], Connection] | None = None
    """Called with the renewed connection as it was and as it will be: what else changes in the same step."""


class AccountChanged(Conflict):
    """It is another account than the one that the connection stands for. ``advice``: what would allow it."""

    reason: Final = "account_mismatch"
    """How a session, and the app's return address, name it."""
    advice: Final = (
        "it is another account than the one that this connection stands for; allow_account_change would take it"
    )

    def __init__(self) -> None:
        super().__init__(f"{self.reason}: {self.advice}")


class Authorizations:
    """Turns token answers into connections."""

    def __init__(self, records: Records, durability: Durability, upstream: Upstream, clock: Clock) -> None:
        self._records = records
        self._durability = durability
        self._upstream = upstream
        self._clock = clock

    async def store(self, wanted: Wanted, tokens: TokenSet) -> Connection:
        """Ask whose account it is, if that is wanted, then :meth:`put` it there.

        :raises ProviderError, ProviderUnavailable: the provider does not say whose account it is.
        :raises BrokerError: as :meth:`put`.
        """
        found = await self.whoami(wanted, tokens)
        return await self.put(wanted, tokens, found.account if found else None)

    async def put(
        self, wanted: Wanted, tokens: TokenSet, account: Account | None, *, fields: Mapping[str, str] | None = None
    ) -> Connection:
        """Create the connection, or put the new credential into the old one.

        :param fields: what was handed in, where the credential is not what the provider issued.
        :raises AccountChanged: another account than before, and that was not allowed.
        :raises NotFound: the connection to renew is gone.
        :raises Conflict: it was changed at the same moment, repeatedly.
        """
        provider = wanted.provider
        fresh, credential = await self.draft(wanted, tokens, account, fields=fields)
        if wanted.renews is None:
            event = self._event("connection.created", fresh, wanted)

            async def create() -> Written:
                return await self._records.create(fresh, credential, event)

            written = await until_stored(create, what=f"new {fresh.id}", attempts=_ATTEMPTS)
            self._durability.follow(fresh, written, create)
        else:
            fresh = await self._renew(wanted, fresh, credential)
        metrics.connections_made.labels(provider.name).inc()
        return fresh

    async def draft(
        self, wanted: Wanted, tokens: TokenSet, account: Account | None, *, fields: Mapping[str, str] | None = None
    ) -> tuple[Connection, Credential]:
        """The new connection as :meth:`put` would store it.

        :raises ProviderError, ProviderUnavailable: the provider's metadata can't be had.
        """
        endpoints = await self._upstream.endpoints(wanted.provider, wanted.parameters)
        credential = Credential(tokens.access_token, tokens.refresh_token, fields=fields or {})
        return self._connection(wanted, tokens, account, endpoints), credential

    async def whoami(self, wanted: Wanted, tokens: TokenSet, fields: Mapping[str, str] | None = None) -> Whoami | None:
        """Whose account it is, and what it may do; ``None`` where that is not wanted, or the provider can't be asked.

        :raises ProviderError, ProviderUnavailable: the provider does not say.
        """
        if not wanted.validate:
            return None
        return await self._upstream.identify(
            wanted.provider,
            wanted.parameters,
            credential=Credential(tokens.access_token, tokens.refresh_token, fields=fields or {}),
            credential_type=wanted.credential_type,
            scopes=tokens.scopes,
        )

    async def give_back(self, wanted: Wanted, tokens: TokenSet) -> None:
        """Revoke tokens that will not be kept, where that ends nothing but them; never fails."""
        if wanted.provider.revoking_ends_grant:
            # Revoking would end the grant of another connection to the same account.
            return
        outcome = await self._upstream.revoke(
            wanted.provider,
            wanted.parameters,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
        )
        if outcome.outcome != "revoked":
            log.warning("authorization.not_given_back", provider=wanted.provider.name, outcome=outcome.outcome)

    async def _renew(self, wanted: Wanted, fresh: Connection, credential: Credential) -> Connection:
        # A refresh of the old grant may commit in between; the new grant wins over it, so the read is repeated.
        for _ in range(5):
            renewed = await until_stored(
                lambda: self._put_into(wanted, fresh, credential), what=f"renewed {wanted.renews}", attempts=_ATTEMPTS
            )
            if renewed is not None:
                return renewed
        raise Conflict("the connection is being changed by somebody else")

    async def _put_into(self, wanted: Wanted, fresh: Connection, credential: Credential) -> Connection | None:
        """The old connection with the new grant; ``None`` if somebody else changed it at the same moment."""
        before = await self._records.read(wanted.renews or "")
        if before is None or before.tenant != wanted.tenant:
            raise NotFound("the connection to renew is gone")
        if before.status is Status.REVOKED:
            raise Conflict("the connection was disconnected; make a new one")
        if before.grant_id == fresh.grant_id:
            # Stored by a write whose answer was lost.
            await self._records.index(before)
            return before
        check_account(before.account, fresh.account, allowed=wanted.allow_account_change)
        after = replace(
            fresh,
            id=before.id,
            created_at=before.created_at,
            generation=before.generation + 1,
            label=before.label if wanted.label is None else wanted.label,
            metadata=wanted.metadata or before.metadata,
            fallback=before.fallback,
            consents=(*before.consents, *fresh.consents)[-KEPT:],
        )
        if wanted.amend is not None:
            after = wanted.amend(before, after)
        event = self._event("connection.renewed", after, wanted)

        async def renew() -> Written:
            return await self._records.replace(before, after, credential, event)

        written = await renew()
        if not written.stored:
            return None
        self._durability.follow(after, written, renew)
        await self._records.index(after, formerly=before)
        return after

    def _connection(
        self, wanted: Wanted, tokens: TokenSet, account: Account | None, endpoints: Endpoints
    ) -> Connection:
        now, connection_id = self._clock(), wanted.connection_id or new_id("con")
        consent = Consent(
            at=now,
            means=wanted.means,
            requested=tuple(wanted.requested_scopes),
            granted=tokens.scopes,
            account=account,
            session=wanted.session,
            client_id=wanted.client_id,
        )
        connection = Connection(
            id=connection_id,
            tenant=wanted.tenant,
            provider=wanted.provider.name,
            # Of an account that nobody knows, the one thing that is known is its connection.
            subject=wanted.subject or f"{wanted.provider.name}:{account.id if account else connection_id}",
            status=Status.ACTIVE,
            credential_type=wanted.credential_type,
            generation=1,
            grant_id=new_id("grant"),
            scopes=tokens.scopes,
            requested_scopes=consent.requested,
            minted=minted_by(wanted.provider, endpoints),
            created_at=now,
            updated_at=now,
            parameters=dict(wanted.parameters),
            provider_data=tokens.provider_data,
            account=account,
            label=wanted.label,
            metadata=wanted.metadata,
            access_token_expires_at=tokens.expires_at,
            refresh_token_expires_at=tokens.refresh_token_expires_at,
            consents=(consent,),
        )
        refreshed = None if wanted.handed_in else now
        health = Health(last_checked_at=now if account else None, last_refreshed_at=refreshed)
        due = schedule.after_success(
            connection, wanted.provider, now=now, has_refresh_token=tokens.refresh_token is not None
        )
        check = schedule.next_check(wanted.provider, now=now)
        return replace(connection, health=replace(health, next_refresh_at=due, next_check_at=check))

    def _event(self, event_type: str, connection: Connection, wanted: Wanted) -> Event:
        return Event.about(
            event_type,
            connection,
            at=self._clock(),
            client_id=wanted.client_id,
            request_id=wanted.request_id,
            subject=connection.subject,
            scopes=list(connection.scopes),
            requested_scopes=list(connection.requested_scopes),
            means=wanted.means,
            session=wanted.session,
        )


def minted_by(provider: Provider, endpoints: Endpoints) -> Minted:
    """The issuer and app that credentials obtained at ``endpoints`` belong to."""
    return Minted(endpoints.minted_by, provider.client_id or "")


def check_account(before: Account | None, now: Account | None, *, allowed: bool) -> None:
    """Return if a credential of ``now`` may take the place of one of ``before``.

    :raises AccountChanged: it is another account, or nobody knows whose it is, and that was not allowed.
    """
    if before is None or allowed:
        return
    if now is None or now.id != before.id:
        raise AccountChanged

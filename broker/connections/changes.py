"""Changes that an app makes to a connection: what it says of it, whether it is switched on, its credential.

All of a change happens or nothing: whatever can be refused is refused before anything is written, and it is one write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from broker.clock import Clock
from broker.connections.authorization import Wanted
from broker.connections.intake import Intake
from broker.connections.persistence import WITHIN_A_SECOND, until_stored
from broker.connections.standing_in import may_stand_in
from broker.errors import Conflict, FieldFault, InvalidRequest, NotFound
from broker.models.access import Reach
from broker.models.connection import Connection, Status, unusable
from broker.models.event import Event
from broker.models.ids import is_id
from broker.models.metadata import fault_of_metadata, merged
from broker.providers import Registry
from broker.vault.due import Kind
from broker.vault.records import Records

_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed."""

    given: frozenset[str]
    """The names of what is; the rest of this means nothing then."""
    label: str | None = None
    metadata: Mapping[str, Any] | None = None
    """A merge patch (RFC 7396) of what is there; ``None``: nothing is left."""
    status: Literal["active", "disabled"] | None = None
    fallback: str | None = None
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    scopes: tuple[str, ...] = ()
    validate: bool = True
    allow_account_change: bool = False


class Changes:
    """Changes connections."""

    def __init__(self, records: Records, intake: Intake, providers: Registry, clock: Clock) -> None:
        self._records = records
        self._intake = intake
        self._providers = providers
        self._clock = clock

    async def apply(
        self, connection: Connection, change: Change, *, reach: Reach, client_id: str | None, request_id: str | None
    ) -> Connection:
        """Change the connection; answers it as it is then.

        :param reach: of the caller; what it names has to lie within.
        :param client_id: the caller; ``None``: the operator, by a command.
        :raises InvalidRequest: naming the field that is wrong.
        :raises InvalidCredentials: the new credential is of no use; the old one is as it was.
        :raises ReauthRequired: the connection was disconnected.
        :raises Conflict: it is another account's with the new credential, or is being changed by somebody else.
        :raises NotConfigured: for a new credential, or another one's, a provider is needed that the file lacks.
        """
        await self._check_fallback(connection, change, reach)
        for _ in range(_ATTEMPTS):
            if connection.status is Status.REVOKED:
                raise unusable(connection.status)
            if "credentials" in change.given:
                return await self._renew(connection, change, client_id=client_id, request_id=request_id)
            changed = await self._amend(connection, change, client_id=client_id, request_id=request_id)
            if changed is not None:
                return changed
            connection = await self._reread(connection)
        raise Conflict("the connection is being changed by somebody else")

    async def _check_fallback(self, connection: Connection, change: Change, reach: Reach) -> None:
        if "fallback" not in change.given or change.fallback is None:
            return
        other = await self._records.read(change.fallback) if is_id("con", change.fallback) else None
        if other is None or not reach.covers(other.tenant, other.provider) or not reach.leads_to(other.id):
            why: str | None = "there is no such connection"
        else:
            why = may_stand_in(connection, other, self._providers)
        if why is not None:
            raise InvalidRequest(f"the fallback can't serve: {why}", [FieldFault("fallback", why)])

    async def _amend(
        self, before: Connection, change: Change, *, client_id: str | None, request_id: str | None
    ) -> Connection | None:
        """The changed connection; ``None``: somebody else changed it at the same moment."""
        after = amended(before, change, now=self._clock())
        if replace(after, updated_at=before.updated_at) == before:
            return before
        event = Event.about(
            _event_type(before, after),
            before,
            at=after.updated_at,
            client_id=client_id,
            request_id=request_id,
            fields=sorted(change.given),
        )
        done = await until_stored(
            lambda: self._records.amend(before, after, event, due=_due(before, after)),
            what=f"change of {before.id}",
            attempts=WITHIN_A_SECOND,
        )
        return after if done else None

    async def _renew(
        self, connection: Connection, change: Change, *, client_id: str | None, request_id: str | None
    ) -> Connection:
        provider = self._providers.of_connection(connection.provider)

        def amend(before: Connection, after: Connection) -> Connection:
            noted = amended(before, change, now=after.updated_at)
            # A new credential switches nothing on that was switched off.
            status = Status.DISABLED if noted.status is Status.DISABLED else Status.ACTIVE
            return replace(after, label=noted.label, metadata=noted.metadata, fallback=noted.fallback, status=status)

        needed = change.scopes or connection.requested_scopes
        wanted = Wanted(
            tenant=connection.tenant,
            client_id=client_id,
            subject=connection.subject,
            provider=provider,
            credential_type=provider.type,
            requested_scopes=needed,
            parameters=connection.parameters,
            label=None,
            metadata={},
            renews=connection.id,
            allow_account_change=change.allow_account_change,
            validate=change.validate,
            request_id=request_id,
            needed_scopes=change.scopes if provider.type == "oauth2" else needed,
            amend=amend,
        )
        return await self._intake.take(wanted, change.credentials)

    async def _reread(self, connection: Connection) -> Connection:
        current = await self._records.read(connection.id)
        if current is None:
            raise NotFound("no such connection")
        return current


def amended(before: Connection, change: Change, *, now: int) -> Connection:
    """The connection with what ``change`` says, its credential aside.

    :param now: milliseconds since the epoch.
    :raises InvalidRequest: the metadata would go beyond its bounds.
    :raises Conflict: it can't be switched on.
    """
    after = replace(before, updated_at=now)
    if "label" in change.given:
        after = replace(after, label=change.label)
    if "metadata" in change.given:
        metadata = {} if change.metadata is None else merged(before.metadata, change.metadata)
        fault = fault_of_metadata(metadata)
        if fault is not None:
            raise InvalidRequest("the metadata would be too much", [FieldFault("metadata", fault)])
        after = replace(after, metadata=metadata)
    if "fallback" in change.given:
        after = replace(after, fallback=change.fallback)
    if change.status == "disabled":
        after = replace(after, status=Status.DISABLED)
    elif change.status == "active" and before.status is Status.DISABLED:
        after = replace(after, status=Status.ACTIVE)
    elif change.status == "active" and before.status is Status.REAUTH_REQUIRED and "credentials" not in change.given:
        raise Conflict("the connection has to be authorized again; that can't be switched")
    return after


def _event_type(before: Connection, after: Connection) -> str:
    if before.status is after.status:
        return "connection.updated"
    return "connection.disabled" if after.status is Status.DISABLED else "connection.enabled"


def _due(before: Connection, after: Connection) -> dict[str, int | None]:
    """What a connection that is switched on has to be done with again, and one that is switched off has not."""
    if before.status is after.status:
        return {}
    if after.status is Status.DISABLED:
        return {Kind.REFRESH.value: None, Kind.CHECK.value: None}
    health = before.health
    due = {Kind.REFRESH.value: health.next_refresh_at, Kind.CHECK.value: health.next_check_at}
    return {kind: max(at, after.updated_at) for kind, at in due.items() if at is not None}

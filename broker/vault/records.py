"""Connections at rest: a hash each, secrets sealed, every change fenced by the generation it was based on.

What stands in the hash, and how, is in ``record_form``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, Literal

from broker.errors import SealBroken, StoreUnavailable
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Ending, Health, Status
from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.keyring import Keyring
from broker.vault.leases import Lease
from broker.vault.record_documents import health_json, learned_json, notes_json
from broker.vault.record_form import SECRET, SHOWN, connection_of, credential_of, fields_of
from broker.vault.redis.store import Argument, Confirmation, Store
from broker.vault.siblings import account_index
from broker.vault.stored import UNREADABLE, made_from

_NOT_REFRESHED: Final = frozenset({"st", "l", "c"})
_GIVEN_UP: Final = 2
_Renewed = Literal["", "refreshed", "authorized"]
"""What kind of new credential a write puts in."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a new credential in the store."""

    stored: bool
    """``False``: the record left the generation that was to be replaced; nothing changed."""
    given_up: bool
    """Somebody else had declared the grant over meanwhile, and the record still says so."""
    confirmed: Confirmation
    """Whether as many replicas have it as ``BROKER_STORE_WAIT_REPLICAS`` asks for; known a moment later."""


class Records:
    """Reads and writes of connections."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def create(self, connection: Connection, credential: Credential, event: Event) -> Written:
        """Store a new connection with its event, then list it. Repeating it changes nothing."""
        written = await self._store.commit(
            scripts.CREATE,
            [names.record(connection.id), names.outbox(connection.id), names.due(connection.id)],
            [
                connection.id,
                connection.health.next_refresh_at or "",
                connection.health.next_check_at or "",
                event.encode(),
                *_flat(fields_of(self._keyring, connection, credential)),
            ],
        )
        # Neither a crash here nor a store whose memory is full loses it: draining the event lists the connection again.
        with suppress(StoreUnavailable):
            await self.index(connection)
        return Written(stored=True, given_up=False, confirmed=written.confirmed)

    async def index(self, connection: Connection, *, formerly: Connection | None = None) -> None:
        """List the connection under its tenant, subject and account; repeating it changes nothing.

        An ended one stands under no account any more: it shares no grant.

        :param formerly: the connection before it was renewed; it leaves the account that it has no longer.
        """
        for index in (
            names.tenant_index(connection.tenant),
            names.subject_index(connection.tenant, connection.subject),
        ):
            await self._store.execute("ZADD", index, connection.created_at, connection.id)
        if connection.status is not Status.REVOKED:
            await self._store.execute("SADD", account_index(connection), connection.id)
        if formerly is not None and account_index(formerly) != account_index(connection):
            await self._store.execute("SREM", account_index(formerly), connection.id)

    async def unindex(self, connection_id: str, tenant: str, subject: str | None) -> None:
        """Take a connection that is gone off the lists."""
        await self._store.execute("ZREM", names.tenant_index(tenant), connection_id)
        if subject is not None:
            await self._store.execute("ZREM", names.subject_index(tenant, subject), connection_id)

    async def note_ending(self, connection: Connection, ending: Ending, event: Event | None) -> None:
        """Note what became of an ended connection's credential, as long as its record stays, with ``event``."""
        fields: dict[str, Argument] = {"e": json.dumps(asdict(ending))}
        await self._store.run(scripts.WRITE, *self._writing(connection, fields, event, "", drop=()))

    async def ending(self, connection_id: str) -> Ending | None:
        """What :meth:`note_ending` noted.

        :raises SealBroken: it is damaged.
        """
        noted = await self._store.execute("HGET", names.record(connection_id), "e")
        try:
            return made_from(Ending, json.loads(noted)) if noted else None
        except UNREADABLE:
            raise SealBroken(f"the stored record of {connection_id} is damaged") from None

    async def read(self, connection_id: str) -> Connection | None:
        """The connection without its secrets, or ``None``."""
        reply = await self._store.execute("HMGET", names.record(connection_id), *SHOWN)
        return connection_of(connection_id, reply)

    async def read_with_credential(self, connection_id: str) -> tuple[Connection, Credential | None] | None:
        """The connection and its opened secrets (``None`` where they are gone).

        :raises SealBroken: the secrets don't open.
        """
        reply = await self._store.execute("HMGET", names.record(connection_id), *SHOWN, *SECRET)
        connection = connection_of(connection_id, reply[: len(SHOWN)])
        if connection is None:
            return None
        sealed_access, sealed_rest = reply[len(SHOWN) :]
        if sealed_access is None or sealed_rest is None:
            return connection, None
        return connection, credential_of(self._keyring, connection, sealed_access, sealed_rest)

    async def replace(
        self,
        before: Connection,
        after: Connection,
        credential: Credential,
        event: Event,
        *,
        lease: Lease | None = None,
    ) -> Written:
        """Commit a new credential, unless the record left ``before.generation`` meanwhile.

        A refresh, which comes with its lease, leaves status, label and metadata as they are: they have other writers,
        who may have been faster; and its health, too, if it was given up meanwhile. Repeating it changes nothing.
        """
        fields = fields_of(self._keyring, after, credential)
        if lease is not None:
            fields = {name: value for name, value in fields.items() if name not in _NOT_REFRESHED}
        # Who writes is named, so that a repeat is known for one: a refresh by its lease, a renewal by its new grant.
        renewal = after.grant_id if after.grant_id != before.grant_id else ""
        owner = renewal if lease is None else lease.owner
        renewed: _Renewed = "authorized" if lease is None else "refreshed"
        command = self._writing(
            before,
            fields,
            event,
            owner,
            drop=("i", "f"),
            renewed=renewed,
            health=after.health,
            check=after.health.next_check_at,
        )
        written = await self._store.commit(scripts.WRITE, *command)
        return Written(bool(written.reply), written.reply == _GIVEN_UP, written.confirmed)

    async def annotate(
        self,
        connection: Connection,
        *,
        status: Status | None = None,
        health: Health | None = None,
        account: Account | None = None,
        updated_at: int,
        event: Event | None = None,
        lease: Lease | None = None,
        instead_of: Health | None = None,
        settles_intent: bool = False,
        parked: int | None = None,
    ) -> bool:
        """Note status, health or whose account it is, without touching the credential; ``False`` if the generation has
        moved on, or ``lease`` is lost.

        With health it says when the connection is refreshed next.

        :param account: as its provider says, where no authorization has. A refresh leaves it as it is.
        :param instead_of: the health that ``health`` builds on; ``False`` if somebody noted another one meanwhile.
        :param parked: how many parked credentials have been tried; ``False`` if another one came since.
        :param settles_intent: the refresh that was begun is known not to have had an effect.
        """
        fields: dict[str, Argument] = {"up": updated_at}
        if status is not None:
            fields["st"] = status.value
        if health is not None:
            fields["h"] = health_json(health)
        if account is not None:
            fields["wa"] = learned_json(connection, account)
        expected = "" if instead_of is None else health_json(instead_of)
        # Whoever sets the status decides what a writer that came late was to find out.
        drop = (*(("i",) if settles_intent else ()), *(("w",) if status is not None else ()))
        # What is hidden or put off, because it is being worked on, is not to be due because of a note.
        moves = health is not None and health.next_refresh_at != connection.health.next_refresh_at
        owner = lease.owner if lease else ""
        command = self._writing(
            connection,
            fields,
            event,
            owner,
            drop=drop,
            expected_health=expected,
            expected_parked=parked,
            health=health if moves else None,
            check=health.next_check_at if health is not None else None,
        )
        return bool(await self._store.run(scripts.WRITE, *command))

    async def amend(
        self, before: Connection, after: Connection, event: Event, *, due: Mapping[str, int | None] = {}
    ) -> bool:
        """Change label, metadata, fallback and status; ``False`` if somebody changed one of them meanwhile.

        The credential is not touched, whoever is renewing it. Repeating it changes nothing.

        :param due: kinds of work that become due by the change, and when (ms); ``None``: not any more.
        """
        arguments: list[Argument] = [
            before.id,
            notes_json(before),
            before.status.value,
            notes_json(after),
            after.status.value,
            after.updated_at,
            event.encode(),
        ]
        for kind, at in due.items():
            arguments += [kind, "-" if at is None else at]
        keys = [names.record(before.id), names.outbox(before.id), names.due(before.id)]
        return bool(await self._store.run(scripts.AMEND, keys, arguments))

    def _writing(
        self,
        before: Connection,
        fields: dict[str, Argument],
        event: Event | None,
        owner: str,
        *,
        drop: Sequence[str],
        expected_health: str = "",
        expected_parked: int | None = None,
        renewed: _Renewed = "",
        health: Health | None = None,
        check: int | None = None,
    ) -> tuple[list[str], list[Argument]]:
        """Keys and arguments of the script; whoever writes health says with it when the connection is due next.

        :param check: when it is tested first, if nothing says so: an earlier version wrote the record, say.
        """
        arguments: list[Argument] = [
            before.id,
            before.generation,
            expected_health,
            "" if expected_parked is None else expected_parked,
            owner,
            renewed,
            "" if health is None else health.next_refresh_at or "-",
            "" if check is None else check,
            event.encode() if event else "",
            len(drop),
            *drop,
            *_flat(fields),
        ]
        keys = (names.record, names.outbox, names.lease, names.due, names.parked)
        return [key(before.id) for key in keys], arguments


def _flat(fields: dict[str, Argument]) -> Iterable[Argument]:
    return (part for pair in fields.items() for part in pair)

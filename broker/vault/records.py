"""Connections at rest: a hash each, secrets sealed, every change fenced by the generation it was based on.

The hash has one field per writer or per reader, so that writers don't overwrite each other and the hot path reads
little: ``t`` tenant, ``p`` provider, ``st`` status, ``g`` generation, ``gr`` grant id, ``x`` access token expiry,
``rx`` refresh token expiry, ``sc`` scopes, ``a`` sealed access token, ``s`` sealed other secrets, ``d`` what an
authorization fixed, ``l`` label and metadata, ``h`` health, ``u`` last used, ``up`` updated, ``i`` refresh intent,
``o`` who committed last, ``e`` how a disconnect ended at the provider.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from broker.errors import SealBroken, StoreUnavailable
from broker.models.connection import Account, Connection, Credential, Ending, Fault, Health, Minted, Status
from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.pipeline import Argument, Pipeline
from broker.vault.siblings import account_index
from broker.vault.stored import made_from

_SHOWN: Final = ("t", "p", "st", "g", "gr", "x", "rx", "sc", "d", "l", "h", "u", "up")
_SECRET: Final = ("a", "s")
_NOT_REFRESHED: Final = frozenset({"st", "l"})
_LEASE_MILLISECONDS: Final = 15_000


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to refresh one generation of a connection, until it runs out or is dropped."""

    connection_id: str
    owner: str
    unknown_since: int | None
    """When an earlier refresh of this generation was begun (ms) of which nobody knows how it ended, or ``None``."""


class Records:
    """Reads and writes of connections."""

    def __init__(self, store: Pipeline, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def create(self, connection: Connection, credential: Credential, event: Event) -> None:
        """Store a new connection with its event, then list it. Repeating it changes nothing."""
        await self._store.run(
            scripts.CREATE,
            [names.record(connection.id), names.outbox(connection.id)],
            [event.encode(), *_flat(self._fields(connection, credential))],
        )
        # Neither a crash here nor a store whose memory is full loses it: draining the event lists the connection again.
        with suppress(StoreUnavailable):
            await self.index(connection)

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
        await self._write(connection, fields, event, None, drop=())

    async def ending(self, connection_id: str) -> Ending | None:
        """What :meth:`note_ending` noted."""
        noted = await self._store.execute("HGET", names.record(connection_id), "e")
        return made_from(Ending, json.loads(noted)) if noted else None

    async def read(self, connection_id: str) -> Connection | None:
        """The connection without its secrets, or ``None``."""
        reply = await self._store.execute("HMGET", names.record(connection_id), *_SHOWN)
        return _connection(connection_id, reply)

    async def read_with_credential(self, connection_id: str) -> tuple[Connection, Credential | None] | None:
        """The connection and its opened secrets (``None`` where they are gone).

        :raises SealBroken: the secrets don't open.
        """
        reply = await self._store.execute("HMGET", names.record(connection_id), *_SHOWN, *_SECRET)
        connection = _connection(connection_id, reply[: len(_SHOWN)])
        if connection is None:
            return None
        sealed_access, sealed_rest = reply[len(_SHOWN) :]
        if sealed_access is None or sealed_rest is None:
            return connection, None
        return connection, self.open(connection, sealed_access, sealed_rest)

    def open(self, connection: Connection, sealed_access: bytes, sealed_rest: bytes) -> Credential:
        """Open the secrets of a record that was read.

        :raises SealBroken: they don't open.
        """
        rest = json.loads(self._keyring.open(_place(connection, "secrets"), sealed_rest))
        if rest.get("destination") != _destination(connection):
            raise SealBroken(f"where the secrets of {connection.id} may be sent is not what was sealed with them")
        access = self._keyring.open(_place(connection, "access_token"), sealed_access)
        return Credential(access.decode(), rest.get("refresh_token"), rest.get("previous_refresh_token"))

    async def lease(self, connection: Connection, owner: str, intent: Mapping[str, Any] | None) -> Lease | str:
        """Take the lease on refreshing this generation and note the intent, in one step.

        Answers the lease, or ``"busy"``, ``"newer"`` or ``"gone"``. The same owner can repeat it.

        :param intent: with ``owner`` and ``started`` (ms); ``None`` where nothing that could be spent will be sent.
        """
        reply = await self._store.run(
            scripts.LEASE,
            [names.record(connection.id), names.lease(connection.id)],
            [owner, _LEASE_MILLISECONDS, connection.generation, json.dumps(intent) if intent else ""],
        )
        if reply[0] != b"mine":
            return str(reply[0].decode())
        noted = json.loads(reply[1]) if len(reply) > 1 and reply[1] else None
        # Our own: the answer to our first call was lost, and nothing has been sent since.
        earlier = noted if noted and noted.get("owner") != owner else None
        return Lease(connection.id, owner, unknown_since=earlier["started"] if earlier else None)

    async def renew(self, lease: Lease) -> bool:
        """Prolong the lease; ``False`` if it ran out meanwhile."""
        reply = await self._store.run(
            scripts.LEASE_RENEW, [names.lease(lease.connection_id)], [lease.owner, _LEASE_MILLISECONDS]
        )
        return bool(reply)

    async def drop(self, lease: Lease) -> None:
        """Give the lease back, if it is still ours."""
        await self._store.run(scripts.LEASE_DROP, [names.lease(lease.connection_id)], [lease.owner])

    async def replace(
        self,
        before: Connection,
        after: Connection,
        credential: Credential,
        event: Event,
        *,
        lease: Lease | None = None,
    ) -> bool:
        """Commit a new credential; ``False`` if the record left ``before.generation`` meanwhile.

        A refresh, which comes with its lease, leaves label and metadata as they are: they have other writers, who may
        have been faster. Of the status it takes only ``reauth_required`` back, which its success disproves.
        """
        fields = self._fields(after, credential)
        if lease is not None:
            fields = {name: value for name, value in fields.items() if name not in _NOT_REFRESHED}
        return await self._write(before, fields, event, lease, drop=("i",), alive=lease is not None)

    async def annotate(
        self,
        connection: Connection,
        *,
        status: Status | None = None,
        health: Health | None = None,
        updated_at: int,
        event: Event | None = None,
        lease: Lease | None = None,
        instead_of: Health | None = None,
        settles_intent: bool = False,
    ) -> bool:
        """Note status or health without touching the credential; ``False`` if the generation has moved on.

        :param instead_of: the health that ``health`` builds on; ``False`` if somebody noted another one meanwhile.
        :param settles_intent: the refresh that was begun is known not to have had an effect.
        """
        fields: dict[str, Argument] = {"up": updated_at}
        if status is not None:
            fields["st"] = status.value
        if health is not None:
            fields["h"] = _health_json(health)
        expected = "" if instead_of is None else _health_json(instead_of)
        drop = ("i",) if settles_intent else ()
        return await self._write(connection, fields, event, lease, drop=drop, expected_health=expected)

    async def _write(
        self,
        before: Connection,
        fields: dict[str, Argument],
        event: Event | None,
        lease: Lease | None,
        *,
        drop: Sequence[str],
        expected_health: str = "",
        alive: bool = False,
    ) -> bool:
        arguments = [
            before.generation,
            expected_health,
            lease.owner if lease else "",
            "1" if alive else "",
            event.encode() if event else "",
            len(drop),
            *drop,
            *_flat(fields),
        ]
        keys = [names.record(before.id), names.outbox(before.id), names.lease(before.id)]
        return bool(await self._store.run(scripts.WRITE, keys, arguments))

    def _fields(self, connection: Connection, credential: Credential) -> dict[str, Argument]:
        rest = {
            "refresh_token": credential.refresh_token,
            "previous_refresh_token": credential.previous_refresh_token,
            # Whoever can write to the store, but has no key, must not redirect what is sealed.
            "destination": _destination(connection),
        }
        sealed_rest = json.dumps({k: v for k, v in rest.items() if v is not None}).encode()
        return {
            "t": connection.tenant,
            "p": connection.provider,
            "st": connection.status.value,
            "g": connection.generation,
            "gr": connection.grant_id,
            "x": _moment(connection.access_token_expires_at),
            "rx": _moment(connection.refresh_token_expires_at),
            "sc": " ".join(connection.scopes),
            "a": self._keyring.seal(_place(connection, "access_token"), credential.access_token.encode()),
            "s": self._keyring.seal(_place(connection, "secrets"), sealed_rest),
            "d": _document_json(connection),
            "l": json.dumps({"label": connection.label, "metadata": dict(connection.metadata)}),
            "h": _health_json(connection.health),
            "up": connection.updated_at,
        }


def place(
    tenant: str,
    connection_id: str,
    *,
    provider: str,
    grant_id: str,
    field: Literal["access_token", "secrets"],
    generation: int,
) -> Place:
    """Where a secret of a connection belongs. Its provider decides who may have it, so it is part of the field."""
    return Place(tenant, connection_id, grant_id, f"{field} of {provider}", generation)


def _place(connection: Connection, field: Literal["access_token", "secrets"]) -> Place:
    return place(
        connection.tenant,
        connection.id,
        provider=connection.provider,
        grant_id=connection.grant_id,
        field=field,
        generation=connection.generation,
    )


def _destination(connection: Connection) -> str:
    """A digest of what decides where a refresh token is sent."""
    parts = [asdict(connection.minted), dict(connection.parameters)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _flat(fields: dict[str, Argument]) -> Iterable[Argument]:
    return (part for pair in fields.items() for part in pair)


def _moment(milliseconds: int | None) -> Argument:
    return "" if milliseconds is None else milliseconds


def _document_json(connection: Connection) -> str:
    return json.dumps(
        {
            "subject": connection.subject,
            "credential_type": connection.credential_type,
            "requested_scopes": connection.requested_scopes,
            "minted": asdict(connection.minted),
            "created_at": connection.created_at,
            "parameters": dict(connection.parameters),
            "provider_data": dict(connection.provider_data),
            "account": asdict(connection.account) if connection.account else None,
        }
    )


def _health_json(health: Health) -> str:
    return json.dumps({key: value for key, value in asdict(health).items() if value})


def _health(text: bytes) -> Health:
    body = json.loads(text)
    error = body.pop("last_error", None)
    return made_from(Health, body, last_error=made_from(Fault, error) if error else None)


def _connection(connection_id: str, reply: list[bytes | None]) -> Connection | None:
    """The connection of a record, or ``None``.

    :raises SealBroken: the record is damaged.
    """
    # A record without a tenant, or cut short, is nobody's: it is never taken for a default tenant's.
    if not reply[0] or any(part is None for part in reply[:11]):
        return None
    try:
        return _parsed(connection_id, reply)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise SealBroken(f"the stored record of {connection_id} is damaged") from None


def _parsed(connection_id: str, reply: list[bytes | None]) -> Connection:
    field = dict(zip(_SHOWN, reply, strict=True))
    text = {name: (value or b"").decode() for name, value in field.items()}
    document = json.loads(text["d"])
    user_owned = json.loads(text["l"])
    return Connection(
        id=connection_id,
        tenant=text["t"],
        provider=text["p"],
        subject=document["subject"],
        status=Status(text["st"]),
        credential_type=document["credential_type"],
        generation=int(text["g"]),
        grant_id=text["gr"],
        scopes=tuple(text["sc"].split()),
        requested_scopes=tuple(document["requested_scopes"]),
        minted=made_from(Minted, document["minted"]),
        created_at=document["created_at"],
        updated_at=int(text["up"]),
        parameters=document["parameters"],
        provider_data=document["provider_data"],
        account=made_from(Account, document["account"]) if document["account"] else None,
        label=user_owned["label"],
        metadata=user_owned["metadata"],
        access_token_expires_at=int(text["x"]) if text["x"] else None,
        refresh_token_expires_at=int(text["rx"]) if text["rx"] else None,
        last_used_at=int(text["u"]) if text["u"] else None,
        health=_health(text["h"].encode()),
    )

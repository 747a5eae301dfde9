"""How a connection stands in its hash: the fields, what is sealed in them, and the way back.

One field per writer or per reader, so that writers don't overwrite each other and the hot path reads little: ``t``
tenant, ``p`` provider, ``st`` status, ``g`` generation, ``gr`` grant id, ``x`` access token expiry, ``rx`` refresh
token expiry, ``sc`` scopes, ``a`` sealed access token, ``s`` sealed other secrets, ``d`` what an authorization fixed,
``l`` what the app says of it (label, metadata, fallback), ``h`` health, ``u`` last used, ``up`` updated, ``i`` refresh
intent, ``f`` who has sent the refresh token and not come back, ``o`` who committed last, ``w`` whose commit waits for
the status to be decided, ``e`` how a disconnect ended at the provider, ``c`` what was consented to, authorization by
authorization, ``wa`` whose account it turned out to be where the authorization didn't say; it holds as long as the
grant. What the documents among them hold is in ``record_documents``.

A connection that a batch brings has two more: ``b`` which batch, and how it was then (:class:`Brought`), and, until the
whole batch is there, ``bt`` in the place of ``t``. Without a tenant it is nobody's: no reader finds it, and no script
serves it, in replicas of earlier versions, too.
"""

import json
from dataclasses import dataclass
from typing import Final, Literal

from broker.errors import SealBroken
from broker.models.connection import Connection, Credential, Status
from broker.vault.keyring import Keyring, Place
from broker.vault.record_check import check
from broker.vault.record_documents import (
    consents_json,
    consents_of,
    fixed_json,
    fixed_of,
    health_json,
    health_of,
    learned_of,
    notes_json,
    secrets_json,
    secrets_of,
)
from broker.vault.redis.store import Argument
from broker.vault.stored import UNREADABLE

SHOWN: Final = ("t", "p", "st", "g", "gr", "x", "rx", "sc", "d", "l", "h", "u", "up", "c", "wa")
"""The fields that :func:`connection_of` reads."""
SECRET: Final = ("a", "s")
"""The fields that :func:`credential_of` reads."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What a record says of the batch that brought it."""

    batch: str
    generation: int
    """What it came with: another one by now means that it was refreshed or authorized anew since."""
    at: int
    """When it was taken in (ms)."""
    verified: bool
    """Whether the provider was asked."""
    parked: int = 0
    """How many credentials that came too late came with it."""
    notes: str = ""
    """See :func:`notes_mark`: what the app said of it then."""

    def encode(self) -> str:
        """The field ``b``."""
        return f"{self.batch} {self.generation} {self.at} {int(self.verified)} {self.parked} {self.notes}"

    @classmethod
    def decode(cls, stored: bytes) -> "Brought | None":
        """What :meth:`encode` wrote; ``None`` for anything else."""
        try:
            batch, generation, at, verified, parked, notes = stored.decode().split(" ")
            return cls(batch, int(generation), int(at), verified == "1", int(parked), notes)
        except ValueError:
            return None


def staged_fields_of(
    keyring: Keyring, connection: Connection, credential: Credential, brought: Brought
) -> dict[str, Argument]:
    """All fields of a connection that is nobody's yet."""
    fields = fields_of(keyring, connection, credential)
    return {"b": brought.encode(), "bt": fields.pop("t"), **fields}


def fields_of(keyring: Keyring, connection: Connection, credential: Credential) -> dict[str, Argument]:
    """All fields of a connection with this credential, sealed."""
    # What a fetch reads comes first: where the store keeps a hash as one list, it looks for a field from the front.
    return {
        "t": connection.tenant,
        "p": connection.provider,
        "st": connection.status.value,
        "g": connection.generation,
        "x": _moment(connection.access_token_expires_at),
        "gr": connection.grant_id,
        "sc": " ".join(connection.scopes),
        "a": keyring.seal(_place(connection, "access_token"), credential.access_token.encode()),
        "rx": _moment(connection.refresh_token_expires_at),
        "up": connection.updated_at,
        "h": health_json(connection.health),
        "l": notes_json(connection),
        "s": keyring.seal(_place(connection, "secrets"), secrets_json(connection, credential).encode()),
        "d": fixed_json(connection),
        "c": consents_json(connection.consents),
    }


def credential_of(keyring: Keyring, connection: Connection, sealed_access: bytes, sealed_rest: bytes) -> Credential:
    """The opened secrets of a record that was read.

    :raises SealBroken: they don't open, or would be sent elsewhere than they were sealed for.
    """
    rest = keyring.open(_place(connection, "secrets"), sealed_rest)
    access = keyring.open(_place(connection, "access_token"), sealed_access)
    try:
        return secrets_of(rest, connection, access.decode())
    except UNREADABLE:
        raise SealBroken(f"the stored record of {connection.id} is damaged") from None


def connection_of(connection_id: str, reply: list[bytes | None]) -> Connection | None:
    """The connection of a record, or ``None``.

    :raises SealBroken: the record is damaged.
    """
    # A record without a tenant, or cut short, is nobody's: it is never taken for a default tenant's.
    if not reply[0] or any(part is None for part in reply[:11]):
        return None
    try:
        return _parsed(connection_id, reply)
    except UNREADABLE:
        raise SealBroken(f"the stored record of {connection_id} is damaged") from None


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


def _moment(milliseconds: int | None) -> Argument:
    return "" if milliseconds is None else milliseconds


def _parsed(connection_id: str, reply: list[bytes | None]) -> Connection:
    field = dict(zip(SHOWN, reply, strict=True))
    text = {name: (value or b"").decode() for name, value in field.items()}
    consents, notes = consents_of(text["c"] or "[]"), json.loads(text["l"])
    connection = Connection(
        id=connection_id,
        tenant=text["t"],
        provider=text["p"],
        status=Status(text["st"]),
        generation=int(text["g"]),
        grant_id=text["gr"],
        scopes=tuple(text["sc"].split()),
        updated_at=int(text["up"]),
        label=notes.get("label"),
        metadata=notes.get("metadata", {}),
        fallback=notes.get("fallback"),
        access_token_expires_at=int(text["x"]) if text["x"] else None,
        refresh_token_expires_at=int(text["rx"]) if text["rx"] else None,
        last_used_at=int(text["u"]) if text["u"] else None,
        health=health_of(text["h"]),
        consents=consents,
        **fixed_of(json.loads(text["d"]), consents, learned_of(text["wa"], text["gr"])),
    )
    check(connection)
    return connection

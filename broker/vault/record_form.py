"""How a connection stands in its hash: the fields, what is sealed in them, and the way back.

One field per writer or per reader, so that writers don't overwrite each other and the hot path reads little: ``t``
tenant, ``p`` provider, ``st`` status, ``g`` generation, ``gr`` grant id, ``x`` access token expiry, ``rx`` refresh
token expiry, ``sc`` scopes, ``a`` sealed access token, ``s`` sealed other secrets, ``d`` what an authorization fixed,
``l`` what the app says of it (label, metadata, fallback), ``h`` health, ``u`` last used, ``up`` updated, ``i`` refresh
intent, ``o`` who committed last, ``w`` whose commit waits for the status to be decided,
``e`` how a disconnect ended at the provider, ``c`` what was consented to, authorization by authorization, ``wa`` whose
account it turned out to be where the authorization didn't say; it holds as long as the grant.

Most of what a store holds is this. So the documents in it are compact, their members have names of one letter, and
nothing is in them that is a default or stands elsewhere in the record.

A connection that a batch brings has two more: ``b`` which batch, and how it was then (:class:`Brought`), and, until the
whole batch is there, ``bt`` in the place of ``t``. Without a tenant it is nobody's: no reader finds it, and no script
serves it, in replicas of earlier versions, too.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from broker.errors import SealBroken
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Fault, Health, Minted, Served, Status
from broker.models.consent import Consent
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.store import Argument
from broker.vault.stored import made_from

SHOWN: Final = ("t", "p", "st", "g", "gr", "x", "rx", "sc", "d", "l", "h", "u", "up", "c", "wa")
"""The fields that :func:`connection_of` reads."""
SECRET: Final = ("a", "s")
"""The fields that :func:`credential_of` reads."""
_USUAL_TYPE: Final = "oauth2"
_OF_CONSENT: Final = {
    "at": "t", "means": "m", "requested": "r", "granted": "g", "account": "a", "session": "s", "client_id": "c",
}  # fmt: skip
_OF_HEALTH: Final = {
    "last_checked_at": "c", "last_refreshed_at": "r", "consecutive_failures": "f", "next_refresh_at": "n",
    "next_check_at": "k", "last_error": "e",
}  # fmt: skip
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode


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
    rest = {
        "r": credential.refresh_token,
        "p": credential.previous_refresh_token,
        "f": dict(credential.fields) or None,
        # Whoever can write to the store, but has no key, must not redirect what is sealed.
        "d": destination(connection),
    }
    sealed_rest = _compact({k: v for k, v in rest.items() if v is not None}).encode()
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
        "s": keyring.seal(_place(connection, "secrets"), sealed_rest),
        "d": _document_json(connection),
        "c": consents_json(connection.consents),
    }


def credential_of(keyring: Keyring, connection: Connection, sealed_access: bytes, sealed_rest: bytes) -> Credential:
    """The opened secrets of a record that was read.

    :raises SealBroken: they don't open, or would be sent elsewhere than they were sealed for.
    """
    rest = json.loads(keyring.open(_place(connection, "secrets"), sealed_rest))
    if rest.get("d") != destination(connection):
        raise SealBroken(f"where the secrets of {connection.id} may be sent is not what was sealed with them")
    access = keyring.open(_place(connection, "access_token"), sealed_access)
    return Credential(access.decode(), rest.get("r"), rest.get("p"), rest.get("f", {}))


def connection_of(connection_id: str, reply: list[bytes | None]) -> Connection | None:
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


def destination(connection: Connection | Served) -> str:
    """A digest of what decides where a refresh token is sent; sealed with it. 128 bits: nobody finds a second one."""
    parts = [connection.minted.issuer, connection.minted.client_id, dict(connection.parameters)]
    whole = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(whole[:16]).rstrip(b"=").decode()


def _moment(milliseconds: int | None) -> Argument:
    return "" if milliseconds is None else milliseconds


def _document_json(connection: Connection) -> str:
    document: dict[str, Any] = {
        "s": connection.subject,
        "m": {"i": connection.minted.issuer, "c": connection.minted.client_id},
        "t": connection.created_at,
    }
    if connection.credential_type != _USUAL_TYPE:
        document["k"] = connection.credential_type
    # Every writer of a document has read the consents of the same generation, and they stay as long as it does.
    requested, account = _latest(connection.consents)
    if connection.requested_scopes != requested:
        document["r"] = connection.requested_scopes
    if connection.account != account:
        document["a"] = _account_told(connection.account)
    more = {"p": dict(connection.parameters), "d": dict(connection.provider_data)}
    return _compact(document | {name: value for name, value in more.items() if value})


def _latest(consents: Sequence[Consent]) -> tuple[tuple[str, ...], Account | None]:
    """What the latest authorization asked for, and whose account it was given with: as a rule, the connection's."""
    return (consents[-1].requested, consents[-1].account) if consents else ((), None)


def notes_json(connection: Connection) -> str:
    """The field ``l``: what the app says about the connection."""
    notes = {"label": connection.label, "metadata": dict(connection.metadata) or None, "fallback": connection.fallback}
    return _compact({name: value for name, value in notes.items() if value is not None})


def learned_json(connection: Connection, account: Account) -> str:
    """The field ``wa``."""
    return _compact({"grant_id": connection.grant_id, **asdict(account)})


def _learned(text: str, grant_id: str) -> Account | None:
    """Whose account it turned out to be, unless that was said of another grant."""
    told = json.loads(text) if text else {}
    return made_from(Account, told) if told.get("grant_id") == grant_id else None


def notes_mark(connection: Connection) -> str:
    """Tells whether the app says something else about the connection by now; not what it says."""
    return hashlib.sha256(notes_json(connection).encode()).hexdigest()[:16]


def health_json(health: Health) -> str:
    """The field ``h``."""
    told = asdict(health)
    return _compact({short: told[name] for name, short in _OF_HEALTH.items() if told[name]})


def consents_json(consents: Sequence[Consent]) -> str:
    """The field ``c``, as short as it can be: what was granted is left out where it is what was asked for."""
    return _compact([_told(consent) for consent in consents])


def _told(consent: Consent) -> dict[str, Any]:
    told = asdict(consent) | {"account": _account_told(consent.account)}
    if consent.granted == consent.requested:
        del told["granted"]
    return {_OF_CONSENT[name]: value for name, value in told.items() if value is not None}


def _account_told(account: Account | None) -> dict[str, str] | None:
    return None if account is None else {name: value for name, value in asdict(account).items() if value is not None}


def _consent(stored: dict[str, Any]) -> Consent:
    told = {name: stored[short] for name, short in _OF_CONSENT.items() if short in stored}
    requested, account = tuple(told["requested"]), told.get("account")
    return made_from(
        Consent,
        told,
        requested=requested,
        granted=tuple(told.get("granted", requested)),
        account=made_from(Account, account) if account else None,
    )


def _health(text: bytes) -> Health:
    body = json.loads(text)
    told = {name: body[short] for name, short in _OF_HEALTH.items() if short in body}
    error = told.pop("last_error", None)
    return made_from(Health, told, last_error=made_from(Fault, error) if error else None)


def _parsed(connection_id: str, reply: list[bytes | None]) -> Connection:
    field = dict(zip(SHOWN, reply, strict=True))
    text = {name: (value or b"").decode() for name, value in field.items()}
    document, notes = json.loads(text["d"]), json.loads(text["l"])
    # What an earlier version wrote says nothing of consents.
    consents = tuple(_consent(told) for told in json.loads(text["c"] or "[]"))
    requested, account = _latest(consents)
    if "a" in document:
        account = made_from(Account, document["a"]) if document["a"] else None
    return Connection(
        id=connection_id,
        tenant=text["t"],
        provider=text["p"],
        subject=document["s"],
        status=Status(text["st"]),
        credential_type=document.get("k", _USUAL_TYPE),
        generation=int(text["g"]),
        grant_id=text["gr"],
        scopes=tuple(text["sc"].split()),
        requested_scopes=tuple(document.get("r", requested)),
        minted=Minted(document["m"]["i"], document["m"]["c"]),
        created_at=document["t"],
        updated_at=int(text["up"]),
        parameters=document.get("p", {}),
        provider_data=document.get("d", {}),
        account=account or _learned(text["wa"], text["gr"]),
        label=notes.get("label"),
        metadata=notes.get("metadata", {}),
        fallback=notes.get("fallback"),
        access_token_expires_at=int(text["x"]) if text["x"] else None,
        refresh_token_expires_at=int(text["rx"]) if text["rx"] else None,
        last_used_at=int(text["u"]) if text["u"] else None,
        health=_health(text["h"].encode()),
        consents=consents,
    )

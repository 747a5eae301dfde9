"""The documents in a record, as JSON: what each holds, and the way back.

Most of what a store holds are records. So their documents are compact, with names of one letter where the broker gives
the names, and nothing is in them that is a default or stands elsewhere in the record: ``d`` says whose account it is
and what was asked for only where the latest consent in ``c`` says something else.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from broker.errors import SealBroken
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Fault, Health, Minted, Served
from broker.models.consent import Consent
from broker.vault.stored import made_from

_USUAL_TYPE: Final = "oauth2"
_OF_CONSENT: Final = {
    "at": "t", "means": "m", "requested": "r", "granted": "g", "account": "a", "session": "s", "client_id": "c",
}  # fmt: skip
_OF_HEALTH: Final = {
    "last_checked_at": "c", "last_refreshed_at": "r", "consecutive_failures": "f", "next_refresh_at": "n",
    "next_check_at": "k", "last_error": "e",
}  # fmt: skip
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode
_sorted: Final = json.JSONEncoder(sort_keys=True).encode


def destination(connection: Connection | Served) -> str:
    """A digest of what decides where a refresh token is sent; sealed with it. 128 bits: nobody finds a second one."""
    parts = [connection.minted.issuer, connection.minted.client_id, dict(connection.parameters)]
    whole = hashlib.sha256(_sorted(parts).encode()).digest()
    return base64.urlsafe_b64encode(whole[:16]).rstrip(b"=").decode()


def secrets_json(connection: Connection, credential: Credential) -> str:
    """What is sealed in the field ``s``."""
    told = {
        "r": credential.refresh_token,
        "p": credential.previous_refresh_token,
        "f": dict(credential.fields) or None,
        # Whoever can write to the store, but has no key, must not redirect what is sealed.
        "d": destination(connection),
    }
    return _compact({name: value for name, value in told.items() if value is not None})


def secrets_of(opened: bytes, connection: Connection | Served, access_token: str) -> Credential:
    """The credential of a record whose secrets were opened.

    :raises SealBroken: they would be sent elsewhere than they were sealed for.
    """
    told = json.loads(opened)
    if told.get("d") != destination(connection):
        raise SealBroken(f"where the secrets of {connection.id} may be sent is not what was sealed with them")
    return Credential(access_token, told.get("r"), told.get("p"), told.get("f", {}))


def fixed_json(connection: Connection) -> str:
    """The field ``d``: what an authorization fixed."""
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


def served_by(document: Mapping[str, Any]) -> dict[str, Any]:
    """Of the field ``d`` what a :class:`~broker.models.connection.Served` has, by its names."""
    return {
        "minted": Minted(document["m"]["i"], document["m"]["c"]),
        "credential_type": document.get("k", _USUAL_TYPE),
        "parameters": document.get("p", {}),
    }


def fixed_of(document: Mapping[str, Any], consents: Sequence[Consent], learned: Account | None) -> dict[str, Any]:
    """What the field ``d`` says beside that of a connection with these consents.

    :param learned: whose account it turned out to be, where no authorization says.
    """
    requested, account = _latest(consents)
    if "a" in document:
        account = made_from(Account, document["a"]) if document["a"] else None
    return {
        **served_by(document),
        "subject": document["s"],
        "created_at": document["t"],
        "requested_scopes": tuple(document.get("r", requested)),
        "provider_data": document.get("d", {}),
        "account": account or learned,
    }


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


def learned_of(text: str, grant_id: str) -> Account | None:
    """Whose account it turned out to be, unless that was said of another grant."""
    told = json.loads(text) if text else {}
    return made_from(Account, told) if told.get("grant_id") == grant_id else None


def notes_mark(connection: Connection) -> str:
    """Tells whether the app says something else about the connection by now; not what it says."""
    return hashlib.sha256(notes_json(connection).encode()).hexdigest()[:16]


def health_json(health: Health) -> str:
    """The field ``h``."""
    told = {short: value for name, short in _OF_HEALTH.items() if (value := getattr(health, name))}
    return _compact(told | {_OF_HEALTH["last_error"]: asdict(health.last_error)} if health.last_error else told)


def consents_json(consents: Sequence[Consent]) -> str:
    """The field ``c``, as short as it can be: what was granted is left out where it is what was asked for."""
    return _compact([_told(consent) for consent in consents])


def consents_of(text: str) -> tuple[Consent, ...]:
    """What :func:`consents_json` wrote."""
    return tuple(map(_consent, json.loads(text)))


def _told(consent: Consent) -> dict[str, Any]:
    told = {short: value for name, short in _OF_CONSENT.items() if (value := getattr(consent, name)) is not None}
    if consent.granted == consent.requested:
        del told[_OF_CONSENT["granted"]]
    return told | {_OF_CONSENT["account"]: _account_told(consent.account)} if consent.account else told


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


def health_of(text: str) -> Health:
    """What :func:`health_json` wrote."""
    body = json.loads(text)
    told = {name: body[short] for name, short in _OF_HEALTH.items() if short in body}
    error = told.pop("last_error", None)
    return made_from(Health, told, last_error=made_from(Fault, error) if error else None)

"""A connection whole, with its credential, as a document that another broker makes the same connection of.

What comes out of a file is a stranger's, however well it was sealed: types, bounds and ids are judged as strictly as
if it came over the API, and no fault repeats a value.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from broker.clock import LATEST
from broker.connections.moving.members import Untakeable
from broker.connections.moving.row import Restored
from broker.models.connection import Connection, Credential, Status
from broker.models.consent import KEPT
from broker.models.ids import is_id
from broker.models.metadata import fault_of_metadata
from broker.providers.kinds import KINDS

_MOST: Final = 2**53
"""Of what is counted: what JSON carries without loss."""
_PARKED: Final = 4
_SECRETS: Final = 20
_LONGEST_SECRET: Final = 65_536
_SCOPES: Final = 1_000
_SCOPE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_GRANT: Final = re.compile(r"[0-9A-Za-z_]{1,64}")
_TYPES: Final = frozenset({*KINDS, "client_credentials"})


@dataclass(frozen=True, slots=True)
class _Whole:
    connection: Connection
    credential: Credential = field(repr=False)
    parked: tuple[str, ...] = field(default=(), repr=False)


_WHOLE: Final = TypeAdapter(_Whole)


def document_of(connection: Connection, credential: Credential, parked: Sequence[str]) -> dict[str, Any]:
    """The document.

    :param parked: refresh tokens of the same grant that came too late, newest first.
    """
    return {"connection": asdict(connection), "credential": asdict(credential), "parked": list(parked)}


def restored_of(document: Mapping[str, Any]) -> Restored:
    """The connection that :func:`document_of` made it of.

    :raises Untakeable: naming the member that is not as it should be.
    """
    try:
        # As text once more: from JSON an array is a tuple and a text a status, and no number is anything else.
        whole = _WHOLE.validate_json(json.dumps(document), strict=True, extra="forbid")
    except ValidationError as error:
        # The place alone: what the library says besides holds what stood there.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and part.isidentifier())
        raise Untakeable(where[:100], "missing, unknown, or of another type than it should be") from None
    fault = next(_faults(whole), None)
    if fault is not None:
        raise Untakeable(*fault)
    return Restored(whole.connection, whole.credential, whole.parked)


def _faults(whole: _Whole) -> Iterator[tuple[str, str]]:
    """What is beyond its bounds, by name."""
    for name, good in _bounds_of(whole.connection):
        if not good:
            yield f"connection.{name}", "is not as it should be, or beyond its bounds"
    fault = fault_of_metadata(whole.connection.metadata)
    if fault is not None:
        yield "connection.metadata", fault
    for name, good in _bounds_of_secrets(whole):
        if not good:
            yield name, "is not as it should be, or beyond its bounds"


def _bounds_of(connection: Connection) -> Iterator[tuple[str, bool]]:
    health, account = connection.health, connection.account
    yield "id", is_id("con", connection.id)
    yield "tenant", _is_text(connection.tenant, 100)
    yield "provider", _is_text(connection.provider, 100)
    yield "subject", 1 <= len(connection.subject) <= 255
    yield "status", connection.status is not Status.REVOKED
    yield "credential_type", connection.credential_type in _TYPES
    yield "generation", 1 <= connection.generation <= _MOST
    yield "grant_id", _GRANT.fullmatch(connection.grant_id) is not None
    yield "scopes", _are_scopes(connection.scopes)
    yield "requested_scopes", _are_scopes(connection.requested_scopes)
    # An entry whose keys go nowhere in particular has neither an issuer nor an app.
    yield "minted", all(len(part) <= 2048 and part.isprintable() for part in asdict(connection.minted).values())
    yield (
        "parameters",
        len(connection.parameters) <= 20
        and all(_is_text(name, 100) and _is_text(value, 255) for name, value in connection.parameters.items()),
    )
    yield "provider_data", len(json.dumps(connection.provider_data)) <= 256 * 1024
    yield "account", account is None or (_is_text(account.id, 1024) and _is_name(account.name, 1024))
    yield "label", _is_name(connection.label, 200)
    yield "fallback", connection.fallback is None or is_id("con", connection.fallback)
    yield "health", 0 <= health.consecutive_failures <= _MOST
    yield (
        "health.last_error",
        health.last_error is None
        or (_is_text(health.last_error.code, 100) and _is_text(health.last_error.message, 4096)),
    )
    yield "times", _are_times(_times_of(connection))
    yield (
        "consents",
        len(connection.consents) <= KEPT
        and all(
            _are_scopes(consent.requested)
            and _are_scopes(consent.granted)
            and _is_name(consent.session, 100)
            and _is_name(consent.client_id, 255)
            and (
                consent.account is None or (_is_text(consent.account.id, 1024) and _is_name(consent.account.name, 1024))
            )
            for consent in connection.consents
        ),
    )


def _bounds_of_secrets(whole: _Whole) -> Iterator[tuple[str, bool]]:
    credential = whole.credential
    yield "credential.access_token", _is_secret(credential.access_token)
    for name in ("refresh_token", "previous_refresh_token"):
        value = getattr(credential, name)
        yield f"credential.{name}", value is None or (value != "" and _is_secret(value))
    yield (
        "credential.fields",
        len(credential.fields) <= _SECRETS
        and all(
            # A private key has lines.
            _is_text(name, 100) and _is_secret(value.replace("\r\n", "").replace("\n", ""))
            for name, value in credential.fields.items()
        ),
    )
    yield "parked", len(whole.parked) <= _PARKED and all(token and _is_secret(token) for token in whole.parked)


def _times_of(connection: Connection) -> Iterator[int | None]:
    health = connection.health
    yield from (connection.created_at, connection.updated_at, connection.last_used_at)
    yield from (connection.access_token_expires_at, connection.refresh_token_expires_at)
    yield from (health.last_checked_at, health.last_refreshed_at, health.next_refresh_at, health.next_check_at)
    yield health.last_error.at if health.last_error else None
    yield from (consent.at for consent in connection.consents)


def _are_times(times: Iterable[int | None]) -> bool:
    return all(time is None or 0 <= time <= LATEST for time in times)


def _are_scopes(scopes: Sequence[str]) -> bool:
    return len(scopes) <= _SCOPES and all(_SCOPE.fullmatch(scope) for scope in scopes)


def _is_text(value: str, longest: int) -> bool:
    return 1 <= len(value) <= longest and value.isprintable()


def _is_name(value: str | None, longest: int) -> bool:
    return value is None or len(value) <= longest


def _is_secret(value: str) -> bool:
    """Something that can stand in a header without ending it."""
    return len(value) <= _LONGEST_SECRET and value.isprintable()

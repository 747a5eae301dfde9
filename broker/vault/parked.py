"""Credentials that came too late: what a refresh obtained whose commit somebody else's had overtaken.

They belong to the same grant as the one in the record, and may outlive it at the provider. So they are kept for a
while, sealed like it, and tried before a connection is given up.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Final

import structlog

from broker.errors import SealBroken
from broker.models.connection import Connection, Status
from broker.vault import names, scripts
from broker.vault.keyring import Keyring, Place
from broker.vault.record_documents import destination
from broker.vault.redis.store import Store
from broker.vault.stored import made_from

_KEPT: Final = 30 * 86_400_000
"""Milliseconds."""
_AT_MOST: Final = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A refresh token that may work where the connection's own does not."""

    refresh_token: str = field(repr=False)
    destination: str = ""
    """A digest of where it may be sent."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What was parked at one moment."""

    refresh_tokens: tuple[str, ...] = field(repr=False)
    """Newest first."""
    count: int
    """How many entries there were, readable or not: who acts upon them can see whether one came since."""


class Parked:
    """Keeps candidates, and finds them again."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def _sealed(self, connection: Connection, refresh_token: str) -> bytes:
        header: dict[str, str | int] = {
            "tenant": connection.tenant,
            "grant": connection.grant_id,
            "generation": connection.generation,
        }
        candidate = Candidate(refresh_token, destination(connection))
        return (
            json.dumps(header).encode()
            + b"\n"
            + self._keyring.seal(_place(connection.id, header), json.dumps(asdict(candidate)).encode())
        )

    async def park(self, connection: Connection, refresh_token: str) -> Status | None:
        """Keep a candidate beside the connection's credential. Repeated, it may stand there twice, which does no harm.

        Answers the connection's status, or ``None`` if it is gone, ended, or lives from another grant.

        :raises StoreUnavailable: it can't be stored, or not be sealed now.
        """
        reply = await self._store.run(
            scripts.PARK,
            [names.record(connection.id), names.parked(connection.id)],
            [connection.grant_id, self._sealed(connection, refresh_token), _KEPT, _AT_MOST],
        )
        return Status(reply.decode()) if reply else None

    async def candidates(self, connection: Connection) -> Candidates:
        """What is parked within the connection's grant."""
        stored = await self._store.execute("LRANGE", names.parked(connection.id), 0, -1)
        opened = [self._opened(connection, entry) for entry in stored]
        return Candidates(tuple(dict.fromkeys(token for token in opened if token)), len(stored))

    def _opened(self, connection: Connection, entry: bytes) -> str | None:
        head, _, envelope = entry.partition(b"\n")
        try:
            header = json.loads(head)
            if header["tenant"] != connection.tenant or header["grant"] != connection.grant_id:
                return None
            candidate = made_from(Candidate, json.loads(self._keyring.open(_place(connection.id, header), envelope)))
        except (SealBroken, ValueError, LookupError, TypeError, AttributeError):
            # One that can't be read must not hide the others.
            log.error("parked.unreadable", connection_id=connection.id)
            return None
        return candidate.refresh_token if candidate.destination == destination(connection) else None


def _place(connection_id: str, header: dict[str, str | int]) -> Place:
    return Place(str(header["tenant"]), connection_id, str(header["grant"]), "parked", int(header["generation"]))

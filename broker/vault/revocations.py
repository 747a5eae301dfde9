"""What has to be given back to providers: disconnecting, and the sealed queue of revocations to retry."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.errors import SealBroken
from broker.models.connection import Connection
from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.due import DueWork, Entry, Kind
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.store import Store
from broker.vault.stored import made_from

KEPT: Final = 86_400_000
"""How long an unfinished revocation is retried, in milliseconds; then its credential is erased."""
_OUTLIVES: Final = 86_400_000
"""How long an ended record outlives its time, in milliseconds, for those who take it off the lists."""


@dataclass(frozen=True, slots=True)
class Job:
    """A credential that has to be given back."""

    connection_id: str
    provider: str
    parameters: Mapping[str, str]
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    parked: tuple[str, ...] = field(default=(), repr=False)
    """Further refresh tokens of the same grant."""


class Revocations:
    """Ends connections and keeps what still has to be revoked."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._due = DueWork(store)

    async def disconnect(
        self, connection: Connection, job: Job | None, event: Event, *, stays: int, parked: int = 0
    ) -> bool:
        """End the connection and queue ``job``, in one step; ``False`` if it left its generation meanwhile.

        :param parked: how many parked credentials were read; ``False`` if another one came since.

        :param stays: how long the ended record can still be read, in milliseconds; then it is due to be unlisted.
        """
        reply = await self._store.run(
            scripts.DISCONNECT,
            [
                names.record(connection.id),
                names.outbox(connection.id),
                names.due(connection.id),
                names.revocation(connection.id),
                names.parked(connection.id),
                names.device_sessions(connection.id),
            ],
            [
                connection.generation,
                event.at,
                stays,
                event.encode(),
                connection.id,
                self._sealed(connection, job) if job else "",
                KEPT,
                _OUTLIVES,
                parked,
            ],
        )
        return bool(reply)

    async def read(self, connection_id: str) -> Job | None:
        """The queued job, or ``None`` if its time is over.

        :raises SealBroken: it does not open.
        """
        stored = await self._store.execute("GET", names.revocation(connection_id))
        if stored is None:
            return None
        head, _, sealed = stored.partition(b"\n")
        try:
            header = json.loads(head)
            place = Place(header["tenant"], connection_id, header["grant"], "revocation", header["generation"])
            errand = json.loads(self._keyring.open(place, sealed))
            parked = tuple(errand.pop("parked", ()))
            return made_from(Job, errand, connection_id=connection_id, parked=parked)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise SealBroken(f"the queued revocation of {connection_id} is damaged") from None

    async def drop(self, connection_id: str) -> None:
        """Erase a job that is done."""
        await self._store.execute("DEL", names.revocation(connection_id))
        await self._due.done(Entry(Kind.REVOKE, connection_id))

    def _sealed(self, connection: Connection, job: Job) -> bytes:
        header = {"tenant": connection.tenant, "grant": connection.grant_id, "generation": connection.generation}
        place = Place(connection.tenant, connection.id, connection.grant_id, "revocation", connection.generation)
        # Where the tokens go is sealed with them: nobody can have them sent elsewhere.
        errand = {
            "provider": job.provider,
            "parameters": dict(job.parameters),
            "access_token": job.access_token,
            "refresh_token": job.refresh_token,
            "parked": job.parked,
        }
        return json.dumps(header).encode() + b"\n" + self._keyring.seal(place, json.dumps(errand).encode())

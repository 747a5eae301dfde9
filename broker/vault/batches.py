"""Batches: what is imported as one thing, with what a run that was broken off needs to go on, and with its end.

    staging      its connections are being tested and stored, as nobody's; all of it goes by itself within days
    refusing     before its commit point: all that was stored is being taken back
    securing     all are there; they are kept from going by themselves
    publishing   the commit point is passed: each is given to its tenant, and it only goes forward
    done         may be taken back
    rolling_back each is being taken away; then the batch itself

Who works on a batch claims it first. A process that lost it, and wakes up later, takes no step of it: every script asks
who has claimed it last.

Which batch a file is, a keyed digest says: its bytes may hold passwords that can be guessed. Beside it stands the
digest itself, sealed: a rotation seals it anew, and the file is known again when the key that named the batch is gone.
Which id each row's connection has follows from the batch's seed, so nothing is stored per row but what differs (see
``set_aside``).
"""

import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

from broker.errors import SealBroken
from broker.models.ids import id_from, is_id
from broker.vault import names, scripts
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.store import Argument, Store
from broker.vault.stored import made_from

KEPT: Final = 7 * 86_400_000
"""Milliseconds that an import which was broken off can be gone on with."""

State = Literal["staging", "refusing", "securing", "publishing", "done", "rolling_back"]
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """One import."""

    id: str
    state: State
    since: int
    """When it came to this state, or how far it came there was noted last (ms)."""
    created_at: int
    file: str
    """What the file was called."""
    tenant: str | None
    """Whose its connections become; ``None``: each keeps its own."""
    rows: int
    seed: str
    """Of the ids: 32 random bytes, hexadecimal. No secret."""
    skipped: int = 0
    unverified: int = 0
    lacking: int = 0
    published: int = 0
    """So many rows, from the first on, have been given to their tenants with all that belongs to it."""
    by: str = ""
    """Who has claimed it, where that is who reads it: nobody else takes steps of it."""

    def connection_id(self, position: int) -> str:
        """The id of what row ``position`` (from 1) makes."""
        return id_from("con", self._drawn("connection", position))

    def event_id(self, position: int) -> str:
        """The id of the event that tells of it."""
        return id_from("evt", self._drawn("event", position))

    def _drawn(self, what: str, position: int) -> bytes:
        return hmac.digest(bytes.fromhex(self.seed), f"{what} {position}".encode(), "sha512")


class Batches:
    """Batches at rest."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def ids_of(self, fingerprint: bytes) -> list[str]:
        """Which batch the file with this fingerprint is: first as one that is made now would be called, then as those
        that were made while another key wrote."""
        return [id_from("imp", mark) for mark in self._keyring.marks("batch", fingerprint)]

    async def find(self, fingerprint: bytes) -> Batch | None:
        """The batch that the file with this fingerprint is, or ``None``."""
        for batch_id in self.ids_of(fingerprint):
            if (batch := await self.read(batch_id)) is not None:
                return batch
        # Named under a key that the ring has no longer, perhaps. There are few batches.
        for batch in await self.all():
            sealed = await self._store.execute("HGET", names.batch(batch.id), "f")
            with suppress(SealBroken):
                if sealed and self._keyring.open(fingerprint_place(batch.id), sealed) == fingerprint:
                    return batch
        return None

    async def read(self, batch_id: str) -> Batch | None:
        """The batch, or ``None``."""
        if not is_id("imp", batch_id):
            return None
        reply = await self._store.execute("HMGET", names.batch(batch_id), "doc", "state", "since", "published")
        if reply[0] is None:
            return None
        state, since, published = reply[1].decode(), int(reply[2]), int(reply[3] or 0)
        document = json.loads(reply[0])
        return made_from(Batch, document, id=batch_id, state=state, since=since, published=published)

    async def claim(self, batch_id: str, holder: str) -> Batch | None:
        """The batch, to be worked on by ``holder`` and nobody who claimed it earlier; or ``None``."""
        if not is_id("imp", batch_id) or not await self._store.run(
            scripts.BATCH_CLAIM, [names.batch(batch_id)], [holder]
        ):
            return None
        batch = await self.read(batch_id)
        return replace(batch, by=holder) if batch else None

    async def all(self) -> list[Batch]:
        """All of them, newest first."""
        listed = [member.decode() for member in await self._store.execute("ZRANGE", names.BATCHES, 0, -1, "REV")]
        found = [(batch_id, await self.read(batch_id)) for batch_id in listed]
        for batch_id in [batch_id for batch_id, batch in found if batch is None]:
            await self._store.execute("ZREM", names.BATCHES, batch_id)
        return [batch for _, batch in found if batch is not None]

    async def step(
        self,
        batch: Batch,
        *,
        among: Collection[State | Literal[""]],
        to: State,
        now: int,
        fingerprint: bytes | None = None,
    ) -> Batch | None:
        """The batch in the state ``to``; ``None``: it is in none of the states ``among`` any more, or somebody else has
        claimed it.

        :param among: where it may be; an empty one: there is none yet.
        :param fingerprint: the file's, to be kept with the batch.
        """
        moved = replace(batch, state=to, since=now)
        document = {name: value for name, value in asdict(moved).items() if name not in _BESIDE}
        ends = KEPT if to in {"staging", "refusing"} else ""
        arguments: list[Argument] = [f",{','.join(among)},", batch.by, ends]
        fields: dict[str, Argument] = {
            "state": to,
            "since": now,
            "published": moved.published,
            "by": batch.by,
            "doc": json.dumps(document),
        }
        if fingerprint is not None:
            fields["f"] = self._keyring.seal(fingerprint_place(batch.id), fingerprint)
        arguments += [part for pair in fields.items() for part in pair]
        if not await self._store.run(scripts.BATCH_STEP, [names.batch(batch.id)], arguments):
            return None
        await self._store.execute("ZADD", names.BATCHES, batch.created_at, batch.id)
        return moved

    async def forget(self, batch: Batch) -> bool:
        """Let nothing be left of it; ``False``: somebody else has claimed it."""
        holder = await self._store.execute("HGET", names.batch(batch.id), "by")
        if (holder or b"").decode() != batch.by:
            return False
        await self._store.execute("ZREM", names.BATCHES, batch.id)
        # Last: a crash before it leaves a batch that can be read, and forgotten, again.
        keys = [names.batch(batch.id), names.batch_rows(batch.id)]
        return bool(await self._store.run(scripts.BATCH_FORGET, keys, [batch.by]))

    async def set_aside(self, batch: Batch, rows: Mapping[int, str]) -> bool:
        """Say what differs: position → the id that the row brings along, or "" where it makes no connection.

        ``False``: somebody else has claimed the batch. Broken off, it leaves nothing out that stood there before.
        """
        obsolete = dict.fromkeys((await self.aside(batch)).keys() - rows.keys(), "-")
        pairs: list[Argument] = [part for pair in [*rows.items(), *obsolete.items()] for part in pair]
        keys = [names.batch(batch.id), names.batch_rows(batch.id)]
        for start in range(0, len(pairs), 2 * _AT_ONCE):
            some = pairs[start : start + 2 * _AT_ONCE]
            if not await self._store.run(scripts.BATCH_ASIDE, keys, [batch.by, KEPT, *some]):
                return False
        return True

    async def keep_aside(self, batch: Batch) -> None:
        """What was set aside stays as long as the batch."""
        await self._store.execute("PERSIST", names.batch_rows(batch.id))

    async def aside(self, batch: Batch) -> dict[int, str]:
        """What was set aside."""
        stored = await self._store.execute("HGETALL", names.batch_rows(batch.id))
        pairs = stored.items() if isinstance(stored, dict) else zip(stored[::2], stored[1::2], strict=True)
        return {int(position): connection_id.decode() for position, connection_id in pairs}

    async def ids(self, batch: Batch, positions: Sequence[int]) -> list[tuple[int, str]]:
        """Position and id of the connections that the rows at ``positions`` make."""
        aside = await self._store.execute("HMGET", names.batch_rows(batch.id), *positions)
        drawn = (batch.connection_id(position) if other is None else other.decode() for position, other in
                 zip(positions, aside, strict=True))  # fmt: skip
        return [(position, found) for position, found in zip(positions, drawn, strict=True) if found]


def fingerprint_place(batch_id: str) -> Place:
    """What a batch's fingerprint is sealed for."""
    return Place("", batch_id, "", "fingerprint", 0)


_BESIDE: Final = frozenset({"id", "state", "since", "published", "by"})
"""What stands in fields of its own, or in the name of the key."""

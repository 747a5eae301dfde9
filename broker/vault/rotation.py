"""Rotating the keys while the broker works: another key writes, every envelope is rewrapped, old keys are struck off.

Each step leaves the store in a state from which the next run goes on, and says in the store itself how far it came:
which key writes, which keys are registered, and in each envelope the key it is sealed with.

1. :meth:`Rotation.move`: the store has another key write, in one step, only if every process that lives holds it.
2. :meth:`Rotation.all_write`: each says that it writes with it. From then on no new envelope is sealed with another.
3. :meth:`Rotation.rewrap`: what is sealed with another key is sealed anew for the same place, and stored only if it
   still is what was read. A refresh that commits meanwhile wins, and has written with the new key anyway. The whole
   store is looked through until one look, begun after all that was on its way has arrived, finds nothing to do.
4. :meth:`Rotation.retire`: the store forgets the other keys; rings need them no more.

Two rotations at once to one key do no harm; of two to different keys, the one whose key does not write gives up.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from broker.errors import Conflict, SealBroken
from broker.vault import names, scripts
from broker.vault.envelopes import Holder, holders, read
from broker.vault.keyring import Keyring
from broker.vault.redis.store import Store
from broker.vault.replicas import LIVES, Replica, Replicas, replicas_of

_AT_ONCE: Final = 200
"""Keys that are read and rewrapped together; what others ask of the store goes in between."""
_LOOKS_EVERY: Final = 0.5
_MOST_LOOKS: Final = 20
"""Looks through the store after which something must be wrong: the first one finds nearly all there is to do."""
_PATIENCE: Final = 2 * LIVES / 1000
"""Seconds after which a process that goes on writing with another key is named."""
IN_FLIGHT: Final = 5.0
"""Seconds in which what was sealed has arrived in the store or failed: more than two deadlines of a command."""


@dataclass(frozen=True, slots=True)
class State:
    """What the store knows of its keys, and who lives, at one moment."""

    writer: str
    registered: tuple[str, ...]
    """The keys that secrets may be sealed with: every ring must hold them."""
    living: tuple[Replica, ...]

    @property
    def unfinished(self) -> bool:
        """Whether keys other than the one that writes may still be needed: a rotation goes on, or was broken off."""
        return set(self.registered) != {self.writer}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An envelope that could not be opened."""

    id: str
    """Of the connection or session."""
    what: str
    key: str | None
    """The key it names; ``None``: it is no envelope."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of looking through the store once or more."""

    rewrapped: int = 0
    already: int = 0
    """Envelopes that were under the key when they were first looked at."""
    overtaken: int = 0
    """Envelopes that somebody else replaced or removed between being read and being rewrapped."""
    unreadable: tuple[Unreadable, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.rewrapped + other.rewrapped,
            self.already + other.already,
            self.overtaken + other.overtaken,
            self.unreadable + other.unreadable,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rotation that came to its end."""

    writer: str
    tally: Tally
    retired: tuple[str, ...] = field(default=())
    """Keys that the store needs no more; none where something could not be opened: a key may be what it lacks."""


Tell = Callable[[str], None]
"""Called with what is being done now, in a few words."""


class Rotation:
    """Rotates the store's envelopes to one key of the ring."""

    def __init__(self, store: Store, keyring: Keyring, replicas: Replicas, *, in_flight: float = IN_FLIGHT) -> None:
        """
        :param replicas: this process among those that live: what it rewraps is seen by other rotations.
        :param in_flight: seconds in which what was sealed has arrived in the store.
        """
        self._store = store
        self._keyring = keyring
        self._replicas = replicas
        self._in_flight = in_flight

    async def state(self) -> State:
        """How things stand."""
        known, living = await self._store.run(scripts.KEYRING_STATE, [names.KEYRING, names.REPLICAS])
        fields = dict(zip((name.decode() for name in known[::2]), known[1::2], strict=True))
        registered = sorted(name.removeprefix("kid:") for name in fields if name != "writer")
        return State(fields.get("writer", b"").decode(), tuple(registered), tuple(replicas_of(living)))

    async def run(self, target: str, tell: Tell) -> Outcome:
        """All steps, or what an earlier run left of them.

        :param target: the key that is to write; the ring has it.
        :raises Conflict: not every process that lives holds the key, or another rotation is going on to another one.
        :raises StoreUnavailable: the store can't be reached; run it again.
        """
        await self.move(target, tell)
        others = await self.all_write(target, tell)
        # Who signed off had its last answer before.
        arrived = asyncio.get_running_loop().time() + (self._in_flight if others else 0)
        tally = await self.rewrap(target, tell)
        for _ in range(_MOST_LOOKS):
            pause = arrived - asyncio.get_running_loop().time()
            if pause > 0:
                tell("waiting for what is on its way to the store")
                await asyncio.sleep(pause)
            again = await self.rewrap(target, tell)
            tally = replace(
                tally,
                rewrapped=tally.rewrapped + again.rewrapped,
                overtaken=tally.overtaken + again.overtaken,
                unreadable=again.unreadable,
            )
            if not again.rewrapped and not again.overtaken:
                return Outcome(target, tally, () if tally.unreadable else await self.retire(target))
        raise Conflict("something goes on sealing secrets with another key; end it, and run this again")

    async def move(self, target: str, tell: Tell) -> None:
        """Have ``target`` write from now on.

        Who lacks it and is not heard of again has ended; it is waited for until its time is over.

        :raises Conflict: a process that lives lacks the key, or the store knows another key under that id.
        """
        fingerprint = self._keyring.fingerprints()[target]
        first_seen: dict[str, int] = {}
        while True:
            verdict, *rest = await self._store.run(
                scripts.KEYRING_MOVE, [names.KEYRING, names.REPLICAS], [target, fingerprint]
            )
            if verdict == b"different":
                raise Conflict(f"the store knows another key under the id {target!r}; give the new key another id")
            if verdict == b"moved":
                await self._replicas.beat("command")
                return
            lacking = replicas_of(rest)
            # A command ends soon by itself.
            alive = [one for one in lacking if one.role == "worker" and one.until > first_seen.get(one.id, one.until)]
            if alive:
                raise Conflict(
                    f"the key {target!r} can't write yet: {len(lacking)} of the running broker processes lack it; "
                    "restart `broker serve` everywhere with a ring that holds it, and run this again"
                )
            first_seen = {one.id: one.until for one in lacking} | first_seen
            tell(f"waiting for {len(lacking)} processes that lack the key and may have ended")
            await asyncio.sleep(_LOOKS_EVERY)

    async def all_write(self, target: str, tell: Tell) -> int:
        """Wait until every process that lives says that it writes with ``target``; how many others there are.

        :raises Conflict: one of them goes on writing with another key, or another key is to write by now.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            state = await self.state()
            _still(target, state.writer)
            behind = [replica for replica in state.living if replica.writes != target]
            if not behind:
                return sum(replica.id != self._replicas.id for replica in state.living)
            if asyncio.get_running_loop().time() >= deadline:
                raise Conflict(f"{len(behind)} running broker processes don't write with {target!r}; run this again")
            tell(f"waiting for {len(behind)} processes to write with {target}")
            await asyncio.sleep(_LOOKS_EVERY)

    async def rewrap(self, target: str, tell: Tell) -> Tally:
        """Look through the whole store once, and put under ``target`` what is under another key."""
        tally = Tally()
        async for keys in self._store.scan(f"{names.PREFIX}*"):
            for some in _batches(holders(keys)):
                _still(target, (await self._store.execute("HGET", names.KEYRING, "writer") or b"").decode())
                for one in await asyncio.gather(*(self._rewrap(holder, target) for holder in some)):
                    tally += one
                tell(f"rewrapping: {tally.rewrapped} done, {tally.already} were under {target} already")
        return tally

    async def retire(self, target: str) -> tuple[str, ...]:
        """Have the store forget every key but ``target``; answers their ids.

        :raises Conflict: a process that lives writes with another key, or another key is to write by now.
        """
        verdict, *rest = await self._store.run(scripts.KEYRING_RETIRE, [names.KEYRING, names.REPLICAS], [target])
        if verdict == b"moved":
            _still(target, rest[0].decode())
        if verdict == b"behind":
            raise Conflict(f"{len(rest)} running broker processes don't write with {target!r}; run this again")
        return tuple(sorted(kid.decode() for kid in rest))

    async def count(self) -> Counter[str]:
        """How many envelopes there are under each key; ``""`` = what is no envelope. Reads the whole store."""
        found: Counter[str] = Counter()
        async for keys in self._store.scan(f"{names.PREFIX}*"):
            for some in _batches(holders(keys)):
                for envelopes in await asyncio.gather(*(read(self._store, holder) for holder in some)):
                    found.update(sealed.kid or "" for sealed in envelopes)
        return found

    async def _rewrap(self, holder: Holder, target: str) -> Tally:
        changes, already, unreadable = [], 0, []
        for sealed in await read(self._store, holder):
            if sealed.kid == target:
                already += 1
                continue
            try:
                changes.append((sealed, sealed.rewrapped(self._keyring, target)))
            except SealBroken:
                unreadable.append(Unreadable(sealed.owner, sealed.what, sealed.kid))
        replaced = await holder.kind.replace(self._store, holder.key, changes) if changes else 0
        return Tally(replaced, already, len(changes) - replaced, tuple(unreadable))


def _batches(found: list[Holder]) -> Iterator[list[Holder]]:
    return (found[start : start + _AT_ONCE] for start in range(0, len(found), _AT_ONCE))


def _still(target: str, writer: str) -> None:
    if writer != target:
        raise Conflict(f"another rotation has made {writer!r} the key that writes; this one stops")

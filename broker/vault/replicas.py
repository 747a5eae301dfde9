"""Which processes live, which keys they can read, and which one they write with: what a rotation has to know.

Every process that seals secrets says so every few seconds, and hears in the answer which key is to write. That key
stands in the store, so that all change over together; each says with its next beat that it has. A process that ends
signs off; one that is killed, stalled or cut off counts as living until its time is over.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog

from broker.clock import steady
from broker.errors import ConfigurationError, StoreUnavailable
from broker.models.ids import new_id
from broker.vault import names, scripts
from broker.vault.keyring import Keyring
from broker.vault.redis.store import Store

BEAT_EVERY: Final = 3.0
"""Seconds."""
LIVES: Final = 40_000
"""Milliseconds from its last beat for which a process counts as living. Longer than one that ends may go on working
after its last beat."""
_AFTER_FAILURE: Final = 0.5
_MARGIN: Final = 5.0
"""Seconds that what was sealed may take to the store: after that, its process may count as dead and be left behind."""

Role = Literal["worker", "command"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that lives, as it says of itself."""

    id: str
    role: Role
    """``worker`` serves requests; ``command`` is one that an operator has just typed, and soon gone."""
    writes: str
    """The id of the key that it seals with."""
    keys: Mapping[str, str]
    """The ids and fingerprints of the keys that it can open."""
    until: int
    """When it stops counting as living (ms, the store's clock): later with every beat."""

    def holds(self, kid: str, fingerprint: str) -> bool:
        """Whether it can open what this very key sealed."""
        return self.keys.get(kid) == fingerprint


def replicas_of(reply: list[bytes]) -> list[Replica]:
    """The replicas in a script's answer: id, what it says of itself, …"""
    return [_parsed(name.decode(), said) for name, said in zip(reply[::2], reply[1::2], strict=True)]


class Replicas:
    """This process among those that live."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self.id: Final = new_id("replica")
        self._may_be_listed = False

    async def beat(self, role: Role = "worker") -> None:
        """Say that this process lives, and write with the key that the store says writes.

        :raises ConfigurationError: the ring lacks that key.
        """
        if await self._say(role):
            # What was said is out of date by the answer to it.
            await self._say(role)

    async def beat_on(self, role: Role = "worker") -> None:
        """Beat for as long as the process lives. Ends only by being cancelled."""
        silenced = ""
        while True:
            try:
                await self.beat(role)
                silenced, rest = "", BEAT_EVERY
            except (StoreUnavailable, ConfigurationError) as error:
                if error.detail != silenced:
                    log.warning("replica.beat_failed", reason=error.detail)
                silenced, rest = error.detail, _AFTER_FAILURE
            except Exception:
                # Without its beats this process would be left behind by the next rotation.
                log.exception("replica.beat_failed")
                rest = BEAT_EVERY
            await asyncio.sleep(rest)

    @asynccontextmanager
    async def counted(self) -> AsyncIterator[None]:
        """Count this process, a command, as living meanwhile. Once it seals nothing more, it is to sign off.

        :raises StoreUnavailable: it can't be said.
        :raises ConfigurationError: the ring lacks the key that writes.
        """
        await self.beat("command")
        beating = asyncio.create_task(self.beat_on("command"))
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def serving(self) -> int:
        """How many processes that serve requests count as living.

        :raises StoreUnavailable: it can't be asked.
        """
        _, living = await self._store.run(scripts.KEYRING_STATE, [names.KEYRING, names.REPLICAS], [])
        return sum(replica.role == "worker" for replica in replicas_of(living))

    async def sign_off(self) -> None:
        """Say that this process ends and seals nothing more; if that can't be said, its time runs out by itself."""
        if not self._may_be_listed:
            return
        try:
            await self._store.execute("HDEL", names.REPLICAS, self.id)
        except StoreUnavailable:
            log.info("replica.not_signed_off", reason="the store is gone; the entry runs out by itself")

    async def _say(self, role: Role) -> bool:
        """Beat once; whether another key writes from now on."""
        before, self._may_be_listed, asked_at = self._keyring.writer, True, steady()
        said = {"role": role, "writes": before, "keys": dict(self._keyring.fingerprints())}
        kid = await self._store.run(
            scripts.KEYRING_BEAT, [names.KEYRING, names.REPLICAS], [self.id, LIVES, json.dumps(said)]
        )
        self._keyring.believe_until(asked_at + LIVES / 1000 - _MARGIN)
        if kid is None or kid.decode() == self._keyring.writer:
            return self._keyring.writer != before
        self._keyring.write_with(kid.decode())
        log.info("keyring.writer_changed", writer=self._keyring.writer, before=before)
        return True


def _parsed(name: str, said: bytes) -> Replica:
    until, _, document = said.partition(b" ")
    fields: dict[str, Any] = json.loads(document)
    return Replica(name, fields["role"], fields["writes"], fields["keys"], int(until))

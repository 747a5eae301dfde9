"""Requests that may come again: who carries one out, and what was answered. Sealed, and gone after a day.

What is stored of a request is a claim: a digest of what was asked, and the id that is drawn for what it makes. Both are
sealed: a digest of a body that holds a password would prove a guess right.
"""

import json
from dataclasses import dataclass
from typing import Final, Literal

from broker.models.ids import new_id
from broker.vault import names, scripts
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.store import Argument, Store, run_or_repeat

KEPT_FOR: Final = 86_400_000
"""Milliseconds that an answer is kept."""

TAKEN_OVER_AFTER: Final = 300_000
"""Milliseconds after which an attempt that said nothing counts as dead: longer than any request of ours takes."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request asks, and what is drawn for it."""

    tenant: str
    request: str
    """Names the request: a digest of who asks, for what, under which key."""
    fingerprint: str
    """A digest of what its body says."""
    drawn: str
    """The random part of the id of what it makes: a repeat whose predecessor died makes the same thing."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a claim stands: it is ours (``claimed``, with what was ``drawn``), or of one who is at it (``running``), or
    was ``answered``. ``other``: the same key was used to ask for something else."""

    state: Literal["claimed", "running", "answered", "other"]
    attempt: str = ""
    drawn: str = ""
    answer: bytes = b""


class StoredRepeats:
    """Claims and their answers."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def claim(self, claim: Claim, now: int) -> Found:
        """Claim the right to carry the request out at ``now`` (ms), or learn what became of it.

        :raises SealBroken: what was stored of it can't be opened.
        """
        attempt = new_id("try")
        content = json.dumps({"fingerprint": claim.fingerprint, "drawn": claim.drawn}).encode()
        arguments: list[Argument] = [
            attempt,
            now,
            now + TAKEN_OVER_AFTER,
            self._keyring.seal(_place(claim, "claim"), content),
            claim.tenant,
            KEPT_FOR,
        ]
        # It may be ours, and the answer lost; asked again by the same name it is ours still.
        reply = await run_or_repeat(self._store, scripts.REPEAT_CLAIM, [_key(claim)], arguments)
        state = reply[0].decode()
        if state == "claimed":
            return Found("claimed", attempt, claim.drawn)
        before = json.loads(self._keyring.open(_place(claim, "claim"), reply[1]))
        if before["fingerprint"] != claim.fingerprint:
            if state == "resumed":
                await self.settle(claim, attempt, "unknown")
            return Found("other")
        if state == "answered":
            return Found("answered", answer=self._keyring.open(_place(claim, "answer"), reply[2]))
        return Found("running") if state == "running" else Found("claimed", attempt, before["drawn"])

    async def answered(self, claim: Claim, attempt: str, answer: bytes) -> None:
        """Keep the answer for those who ask again."""
        sealed = self._keyring.seal(_place(claim, "answer"), answer)
        await self._store.run(scripts.REPEAT_SETTLE, [_key(claim)], [attempt, "answered", sealed, KEPT_FOR])

    async def settle(self, claim: Claim, attempt: str, outcome: Literal["undone", "unknown"]) -> None:
        """There is no answer to keep.

        :param outcome: ``undone``: nothing happened, so the key is free again. ``unknown``: something may have, so
            whoever asks again goes on with what was drawn.
        """
        await self._store.run(scripts.REPEAT_SETTLE, [_key(claim)], [attempt, outcome, "", KEPT_FOR])


def _key(claim: Claim) -> str:
    return names.repeat(f"rep_{claim.request}")


def _place(claim: Claim, field: Literal["claim", "answer"]) -> Place:
    return Place(claim.tenant, f"rep_{claim.request}", "", field, 0)

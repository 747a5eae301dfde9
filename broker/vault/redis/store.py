"""The store as the rest of the vault sees it: commands and scripts, whatever they travel through to whichever node."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broker.vault.scripts import Script

Argument = str | bytes | int | float
Reply = Any
"""bytes, int, ``None``, or a list of these: the store's RESP2 answer."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A write that was carried out."""

    reply: Reply
    confirmed: "asyncio.Future[bool]"
    """Whether enough replicas have it; never raises."""


class Store(Protocol):
    """One server, or many that look like one.

    Every method raises :class:`StoreUnavailable` where the store can't be reached, doesn't answer by the deadline, or
    answers an error. Nothing is ever sent twice: after a failure nobody knows whether it had its effect.
    """

    async def execute(self, *parts: Argument) -> Reply:
        """Run one command, whose keys all lie in one slot, and answer its reply."""

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        """Run a script on ``keys``, which all lie in one slot."""

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        """Run a script whose effect must reach replicas, too; they are waited for behind the answer."""

    def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """All keys that match ``pattern``, page by page, of every node. A key can come twice; one that is there from
        beginning to end comes at least once."""

    async def aclose(self) -> None:
        """Refuse new commands, fail those that wait, and let go of every connection."""

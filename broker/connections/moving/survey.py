"""The first look at a file: every row judged, compared with the others and with what is there already. Stores nothing.

Two connections that live from one rotating refresh token end each other's grant, so no refresh token may come twice.
One API key may well serve several subjects.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.connections.moving.judging import Judge, Judged
from broker.connections.moving.order import Order, Rows, Stop, Tell
from broker.connections.moving.row import Row, RowFault
from broker.models.connection import Connection, Status
from broker.vault.staged import Staged

AT_ONCE: Final = 250
"""Rows that are looked at together."""
FAULTS_AT_MOST: Final = 1000
"""After so many the rest is not looked at: something is wrong with the whole file."""


@dataclass(slots=True)
class Seen:
    """What a look at the file has found."""

    rows: int = 0
    faults: list[RowFault] = field(default_factory=list)
    aside: dict[int, str] = field(default_factory=dict)
    """Position → the id that the row brings along, or "" where it is left out."""

    @property
    def skipped(self) -> int:
        """How many rows are left out."""
        return sum(not connection_id for connection_id in self.aside.values())


def judged_rows(
    judge: Callable[[Row, Order], Judged | list[RowFault]], order: Order, rows: Rows
) -> Iterator[list[tuple[int, Judged | list[RowFault]]]]:
    """All rows of the file with their positions, some at a time."""
    some: list[tuple[int, Judged | list[RowFault]]] = []
    for position, row in enumerate(rows(), 1):
        judged = [row] if isinstance(row, RowFault) else judge(row, order)
        some.append((position, row.named(judged) if isinstance(row, Row) and isinstance(judged, list) else judged))
        if len(some) == AT_ONCE:
            yield some
            some = []
    if some:
        yield some


class Survey:
    """Looks through files."""

    def __init__(self, judge: Judge, staged: Staged) -> None:
        self._judge = judge
        self._staged = staged

    async def look(self, order: Order, rows: Rows, tell: Tell, stop: Stop, *, batch: str | None = None) -> Seen:
        """All that is wrong with the file, as far as no provider has to be asked.

        :param batch: the batch that it was before: what that one has stored is no obstacle.
        """
        seen, twins = Seen(), _Twins()
        for some in judged_rows(self._judge.judge, order, rows):
            seen.rows = some[-1][0]
            for _, judged in some:
                seen.faults += judged if isinstance(judged, list) else judged.row.named(twins.faults_of(judged))
            good = [(position, judged) for position, judged in some if isinstance(judged, Judged)]
            for position, judged in good:
                if judged.restored is not None:
                    seen.aside[position] = judged.restored.id
            there = await asyncio.gather(*(self._is_there(judged, batch) for _, judged in good))
            for (position, judged), obstacle in zip(good, there, strict=True):
                if obstacle and order.existing == "skip":
                    seen.aside[position] = ""
                elif obstacle and (order.existing == "refuse" or obstacle.field == "id"):
                    seen.faults += judged.row.named([obstacle])
            tell("checking", seen.rows, None)
            if len(seen.faults) >= FAULTS_AT_MOST or stop.is_set():
                break
        return seen

    async def _is_there(self, judged: Judged, batch: str | None) -> RowFault | None:
        """What stands in the row's way in the store."""
        number = judged.row.number
        if judged.restored is not None:
            found = await self._staged.read(judged.restored.id)
            if found is not None and not (found.brought and found.brought.batch == batch):
                return RowFault(number, "id", "a connection with this id is there already", remedy="existing-skip")
        if any(_same(judged, other) for other in await self._staged.of_subject(judged.tenant, judged.subject)):
            return RowFault(
                number,
                "subject",
                "has a connection at this provider already (--existing skip leaves such rows out, add adds another)",
            )
        return None


def _same(judged: Judged, other: Connection) -> bool:
    """Whether it may be a connection to the same account; one that nobody knows may be any."""
    if other.provider != judged.provider.name or other.status is Status.REVOKED:
        return False
    return judged.account is None or other.account is None or judged.account.id == other.account.id


class _Twins:
    """Finds rows that must not stand in one file together. Keeps 8 bytes of each, that prove no guess."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._known: set[int] = set()

    def faults_of(self, judged: Judged) -> list[RowFault]:
        """What the row has in common with one before it."""
        number, provider = judged.row.number, judged.provider.name
        if judged.restored is not None and judged.row.restored is not None:
            credential = judged.row.restored.credential
            refresh_token = credential.refresh_token
            whole: Sequence[object] = ["id", judged.restored.id]
        else:
            token = judged.row.credentials.get("refresh_token")
            refresh_token = token.strip() if isinstance(token, str) else None
            whole = [provider, judged.tenant, judged.subject, sorted(judged.row.credentials.items(), key=str)]
        faults = []
        if refresh_token and self._was_there(["refresh_token", judged.provider.client_id, refresh_token]):
            message = "stands in another row, too: of two connections with one refresh token each would end the other"
            faults.append(RowFault(number, "credentials.refresh_token", message))
        elif self._was_there(whole):
            faults.append(RowFault(number, "credentials", "the same row stands in the file twice"))
        return faults

    def _was_there(self, what: Sequence[object]) -> bool:
        text = json.dumps(what, default=str).encode()
        digest = int.from_bytes(hashlib.blake2b(text, key=self._key, digest_size=8).digest())
        if digest in self._known:
            return True
        self._known.add(digest)
        return False

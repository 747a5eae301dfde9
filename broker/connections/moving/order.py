"""What an import is asked to do, what it says while it is at it, and what came of it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from broker.connections.moving.row import Row, RowFault
from broker.errors import StoreUnavailable

Rows = Callable[[], Iterator[Row | RowFault]]
"""Called for each look at the file: what stands in it, from the first row on, the same each time."""

Existing = Literal["refuse", "skip", "add"]
"""What to do where a subject has a connection at the provider already: take nothing of the whole file, leave the row
out, or add another one."""

Ending = Literal["checked", "refused", "paused", "done"]
"""``checked``: nothing is wrong, and nothing was stored, as wanted. ``refused``: some rows are at fault, and nothing is
stored. ``paused``: it goes on when it is run again. ``done``: all is there."""

Tell = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is, and how much there is, where that is known."""


@dataclass(frozen=True, slots=True)
class Order:
    """Take this file in."""

    fingerprint: bytes
    """A digest of the file and of what decides what it means: the same again is the same batch."""
    file: str
    """What it is called, for people."""
    tenant: str | None = None
    """Whose its connections become; ``None``: the default tenant's, and restored ones keep theirs."""
    verify: bool = True
    """Whether to ask the providers about each credential."""
    existing: Existing = "refuse"
    dry_run: bool = False
    """Judge and ask, and store nothing."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it."""

    state: Ending
    batch: str | None
    rows: int
    imported: int = 0
    skipped: int = 0
    unverified: int = 0
    lacking: int = 0
    """Were granted less than was asked for, as the row says."""
    faults: tuple[RowFault, ...] = ()
    why: str | None = None
    """Why it paused."""
    again_at: int | None = None
    """When it may be worth to go on, where the providers that are away say so (ms)."""
    already: bool = False
    """It was done before; nothing was changed."""
    aside: Mapping[int, str] = field(default_factory=dict)
    """Position → the id that the row brought along, or "" where it was left out."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One row and its connection, for programs that have to follow."""

    row: int
    source_id: str | None
    connection_id: str
    provider: str
    subject: str


class TakenOver(StoreUnavailable):
    """Another process works on the same import. This one changes nothing more; it can be run again."""


class Stop(asyncio.Event):
    """Set when somebody wants it to end soon: what is under way is finished, and nothing more is begun."""

    def check(self) -> None:
        """Asked before anything is changed.

        :raises TakenOver: it is somebody else's to change.
        """

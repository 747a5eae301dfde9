"""What the store is asked, as it sees it itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from broker.vault import scripts

_START, _END = "the watch begins", "the watch ends"


@dataclass
class Watched:
    """What the store was asked."""

    commands: list[str] = field(default_factory=list)
    """By clients; a script by its name."""
    within: list[str] = field(default_factory=list)
    """By scripts, inside."""


@contextmanager
def watching(store: redis.Redis) -> Iterator[Watched]:
    """Everything that the store does in the block."""
    watched = Watched()
    names = {script.sha: script.name for script in scripts.ALL}
    with store.monitor() as monitor:  # type: ignore[no-untyped-call]
        store.echo(_START)
        while _START not in monitor.next_command()["command"]:
            pass
        yield watched
        store.echo(_END)
        while _END not in (seen := monitor.next_command())["command"]:
            word, _, rest = seen["command"].partition(" ")
            if seen["client_type"] == "lua":
                watched.within.append(word)
            else:
                watched.commands.append(names[rest.split(" ")[0]] if word == "EVALSHA" else word)

"""What processes and the store needed: CPU and memory out of ``/proc``, commands out of the store's own counting."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import redis

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_IDLE_SECONDS: Final = 2
_SCRIPTS: Final = frozenset({"cmdstat_evalsha", "cmdstat_eval", "cmdstat_evalsha_ro", "cmdstat_fcall"})


def cpu_seconds(pid: int) -> float:
    """Seconds of a core that a process needed so far, in user and system mode; to a hundredth.

    :raises ProcessLookupError: there is none.
    """
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    # The second field is a name in brackets, which may hold anything; utime and stime are the 14th and 15th.
    fields = said.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def most_held(pid: int) -> int:
    """Bytes of memory that a process ever held at once."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def children(pid: int, command: str) -> list[int]:
    """The process ids of those children of a process whose command line holds ``command``."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(one) for one in found if command.encode() in Path(f"/proc/{one}/cmdline").read_bytes()]


def busy_seconds() -> float:
    """Seconds that the cores of the machine worked, all together: not idle, nor waiting for a disk, nor stolen."""
    figures = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts = map(int, figures)
    return (user + nice + system + interrupts + soft_interrupts) / _TICKS


def own_seconds() -> float:
    """Those of this process and of all that it started and that has ended."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


class Others:
    """Notices what other programs take of the machine: figures taken beside them are not worth much."""

    def __init__(
        self,
        busy: Callable[[], float] = busy_seconds,
        own: Callable[[], float] = own_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._busy, self._own, self._clock = busy, own, clock
        self._began = self._now()

    def cores(self) -> float:
        """How many cores were busy with what is not ours, since the beginning.

        To be asked once everything that was started has ended: until then its time is not known to be ours.
        """
        seconds, busy, own = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return max(0.0, (busy - own) / seconds)

    def _now(self) -> tuple[float, float, float]:
        return self._clock(), self._busy(), self._own()


@dataclass(frozen=True)
class Commands:
    """What the store was asked within some time."""

    scripts: float
    others: float
    """Commands that are no script: those within scripts, those of background work, and whoever asks without one."""

    @classmethod
    def between(cls, before: Mapping[str, int], after: Mapping[str, int]) -> "Commands":
        """Of two countings; the counting itself (INFO) is left out."""
        grown = {name: calls - before.get(name, 0) for name, calls in after.items() if name != "cmdstat_info"}
        scripts = sum(calls for name, calls in grown.items() if name in _SCRIPTS)
        return cls(scripts, sum(grown.values()) - scripts)

    def without(self, per_second: "Commands", seconds: float) -> "Commands":
        """These, less what would have been asked in so many seconds anyway."""
        return Commands(
            max(0.0, self.scripts - per_second.scripts * seconds),
            max(0.0, self.others - per_second.others * seconds),
        )


class StoreMeter:
    """The store, seen from its side."""

    def __init__(self, socket: Path) -> None:
        """:param socket: where it listens."""
        self._redis = redis.Redis(unix_socket_path=str(socket))
        self.pid = int(self.info("server")["process_id"])

    def info(self, section: str) -> Mapping[str, Any]:
        """A section of INFO."""
        said: Any = self._redis.info(section)
        return dict(said)

    def calls(self) -> Mapping[str, int]:
        """How often each command was called since the start, by whomever, within scripts, too."""
        return {name: int(stat["calls"]) for name, stat in self.info("commandstats").items()}

    @cached_property
    def idle(self) -> Commands:
        """What it is asked in a second in which nobody asks the broker: first asked for at such a time."""
        before, began = self.calls(), time.monotonic()
        time.sleep(_IDLE_SECONDS)
        seen, seconds = Commands.between(before, self.calls()), time.monotonic() - began
        return Commands(seen.scripts / seconds, seen.others / seconds)

    def put(self, key: str, value: str) -> None:
        """Store a text."""
        self._redis.set(key, value)

    def close(self) -> None:
        """Hang up."""
        self._redis.close()


def total_cpu(pids: Iterable[int]) -> float:
    """Seconds of a core that several processes needed."""
    return sum(map(cpu_seconds, pids))

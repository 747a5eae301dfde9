"""Where audit events are also written, a JSON line each, for whoever collects them.

A collector can stall, and so can a disk. Writing happens in a thread of its own, one write at a time, and is waited for
only so long: a stalled sink holds up the moving of events, which stay in their outboxes, and nothing else, not even the
end of the process. What is only slow gets everything once: a write that ends well after its caller has gone counts when
its lines come again.
"""

import asyncio
import errno
import os
import select
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

_FILE: Final = "file:"
_STDOUT: Final = 1
"""The descriptor: ``sys.stdout`` has a lock, which a stalled write would hold when the interpreter wants to end."""
_PATIENCE: Final = 1.0
"""Seconds. Who reads the record waits, too; and what takes longer isn't lost."""
_REMEMBERED: Final = 2_000
"""Lines. Usually they come again with the next try; if another replica has moved them meanwhile, they never do."""


@dataclass(frozen=True, slots=True)
class _Write:
    lines: Sequence[str]
    outcome: "Future[None]"


class Sink:
    """``none``, ``stdout`` or ``file:PATH``.

    An event may arrive twice: after a crash, after a write that failed, or from two replicas that settle at once; its
    id tells. A line that was cut off (by a full disk, or a crash) stays as it is, and the next one begins a new line.
    It isn't taken back: others follow the file, and would take it for a new one if it got shorter.
    """

    def __init__(self, target: str, *, patience: float = _PATIENCE) -> None:
        """
        :param patience: seconds that a write is waited for.
        :raises ValueError: another target.
        """
        if target not in {"none", "stdout"} and not target.startswith(_FILE):
            raise ValueError("an events sink is none, stdout or file:PATH")
        self._target = target
        self._patience = patience
        self._turn = asyncio.Lock()
        self._latest: _Write | None = None
        """Begun, and not known to have ended."""
        self._arrived: set[str] = set()
        """Lines that were written when nobody waited for it any more."""
        self._cut_off = False
        """Whether the last line on standard output may lack its end."""

    @property
    def is_output(self) -> bool:
        """Whether lines go to the standard output of the process."""
        return self._target == "stdout"

    def obstacle(self) -> str | None:
        """Why lines could not be written now, as far as that shows without writing one; ``None``: nothing is seen.

        Nothing is made, and nothing is waited for.
        """
        if not self._target.startswith(_FILE):
            return None
        path = Path(self._target.removeprefix(_FILE))
        try:
            # A pipe that nobody reads would be waited for.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        except FileNotFoundError:
            return _obstacle_to_making(path)
        except OSError as error:
            return "nobody reads it" if error.errno == errno.ENXIO else (error.strerror or "can't be opened").lower()
        try:
            return None if select.select([], [descriptor], [], 0)[1] else "its reader has stalled"
        finally:
            os.close(descriptor)

    async def write(self, lines: Iterable[str]) -> None:
        """Write the lines before returning. Where there is nobody to tell, none of them is asked for.

        :raises OSError: they can't be written, or not in time (:class:`TimeoutError`), or an earlier write has still
            not ended. Some of them may have been written; the events stay where they are, and are to be tried again.
        """
        wanted = [] if self._target == "none" else list(lines)
        if not wanted:
            return
        async with self._turn:
            self._look_at_the_latest()
            if missing := [line for line in wanted if line not in self._arrived]:
                await self._write(missing)
            self._arrived.difference_update(wanted)

    def _look_at_the_latest(self) -> None:
        if self._latest is None:
            return
        if not self._latest.outcome.done():
            raise TimeoutError(errno.ETIMEDOUT, "an earlier write has not ended")
        # One that failed in the end has arrived in part at most: all of it is written again.
        if self._latest.outcome.exception() is None:
            if len(self._arrived) > _REMEMBERED:
                self._arrived.clear()
            self._arrived.update(self._latest.lines)
        self._latest = None

    async def _write(self, lines: Sequence[str]) -> None:
        append = self._print if self.is_output else self._append
        text = "".join(f"{line}\n" for line in lines).encode()
        self._latest = _Write(lines, _in_a_thread(append, text))
        try:
            await asyncio.wait_for(asyncio.wrap_future(self._latest.outcome), self._patience)
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, f"a write takes more than {self._patience:g} s") from None
        self._latest = None

    def _print(self, text: bytes) -> None:
        begun, self._cut_off = self._cut_off, True
        _write_whole(_STDOUT, b"\n" + text if begun else text)
        self._cut_off = False

    def _append(self, text: bytes) -> None:
        path = Path(self._target.removeprefix(_FILE))
        # Audit events name subjects: others on the machine have no business with them.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # No lock: whoever may read the file could hold it, and not every file system has one. Other workers append,
            # too; a local file system takes what one call of write appends as a whole, so that their lines don't mix.
            size = os.fstat(descriptor).st_size
            _write_whole(descriptor, b"\n" + text if size and not _ends_a_line(path) else text)
        finally:
            os.close(descriptor)


def _in_a_thread(work: Callable[[bytes], None], text: bytes) -> "Future[None]":
    """Begin ``work``. It can't be cancelled; the process doesn't wait for it when it ends, as it would for a thread of
    an executor."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work(text)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    Thread(target=run, name="events sink", daemon=True).start()
    return future


def _write_whole(descriptor: int, text: bytes) -> None:
    left = memoryview(text)
    while left:
        left = left[os.write(descriptor, left) :]


def _obstacle_to_making(path: Path) -> str | None:
    if not path.parent.is_dir():
        return "its folder is not there"
    return None if os.access(path.parent, os.W_OK | os.X_OK) else "nothing may be made in its folder"


def _ends_a_line(path: Path) -> bool:
    """Whether the file is known to: one that may only be appended to can't be asked, and an empty line in it harms
    nobody."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:
        return False

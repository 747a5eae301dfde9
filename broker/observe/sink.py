"""Where audit events are also written, a JSON line each, for whoever collects them."""

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_FILE: Final = "file:"


class Sink:
    """``none``, ``stdout`` or ``file:PATH``.

    An event may arrive twice, after a crash or from two replicas that settle at once; its id tells.
    """

    def __init__(self, target: str) -> None:
        """:raises ValueError: another target."""
        if target not in {"none", "stdout"} and not target.startswith(_FILE):
            raise ValueError("an events sink is none, stdout or file:PATH")
        self._target = target

    async def write(self, lines: Iterable[str]) -> None:
        """Write the lines before returning. Where there is nobody to tell, none of them is asked for.

        :raises OSError: the file can't be written; the events stay where they are.
        """
        text = "" if self._target == "none" else "".join(f"{line}\n" for line in lines)
        if not text:
            return
        if self._target == "stdout":
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            await asyncio.to_thread(_append, Path(self._target.removeprefix(_FILE)), text)


def _append(path: Path, text: str) -> None:
    # Audit events name subjects: others on the machine have no business with them.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(descriptor, "a", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(text)

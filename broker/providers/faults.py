"""What is wrong in the file, and where: a line, a path of keys and a text that never quotes a value."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""The keys (and list positions) that lead to a value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend; ``line`` counts from 1."""

    line: int
    path: Path
    message: str

    def render(self, file: str) -> str:
        """``providers.yaml:7: providers.example.token_endpiont: unknown key``."""
        where = ".".join(_printable(str(part)) for part in self.path)
        return f"{file}:{self.line}: {where}: {self.message}" if where else f"{file}:{self.line}: {self.message}"


class MisplacedError(ValueError):
    """Something is wrong at ``path`` below what is being judged, and it takes the whole of that to see it."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def suggestion(word: str, known: Iterable[str]) -> str:
    """``" (did you mean token_endpoint?)"``, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, tuple(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _printable(part: str) -> str:
    """A key as it is, unless it would break the line or move the cursor of a terminal."""
    return part if part.isprintable() else ascii(part)

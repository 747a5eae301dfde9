"""The file as it is written: what each entry says itself or takes over, before variables are put in, and line by line.

A trailing comment ``# unverified`` or ``# unverified: what is known of it`` says that nobody could confirm the value on
its line. It marks the key there: the outermost one that begins on that line, or, where that holds just one other key on
the same line, that one. An entry that takes the value over takes the mark over, too.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from broker.providers.document import Node, parse
from broker.providers.faults import Path
from broker.providers.inheritance import inherit

_MARK: Final = re.compile(r"unverified(?::\s*(?P<note>\S.*))?")
_MEANT: Final = re.compile(
    r"(?:un-?verified|not[ -](?:yet[ -])?verified)\b(?P<ends>\s*(?:$|[:;,.(\u2013-]))?", re.IGNORECASE
)
"""Other ways to write it, which mark nothing. Where more words follow at once, a line of its own may be prose."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value that nobody could confirm: its key below the entry, and what is known of it, if anything."""

    key: str
    note: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """A file that loads. ``entries``: with what they take over, and with ``${VAR}`` as it stands."""

    entries: Mapping[str, Node]
    bases: Mapping[str, str]
    """Entry → the one that it extends."""
    marks: Mapping[int, str | None]
    """Line → what the mark on it says, for all that mark a key."""
    stray: tuple[int, ...]
    """Lines of comments that look like marks and mark nothing."""

    def unverified(self, name: str) -> tuple[Mark, ...]:
        """What an entry says, or takes over, that is marked."""
        found: dict[int, Path] = {}
        for path, line in _lines(self.entries[name]):
            if line in self.marks:
                # A parent comes before what it holds; on one line the only child says it better.
                before = found.get(line)
                if before is None or (path[:-1] == before and _alone(self.entries[name], before)):
                    found[line] = path
        return tuple(Mark(".".join(map(str, path)), self.marks[line]) for line, path in found.items())


def as_written(text: str) -> Written:
    """The file ``text``, which loads without faults."""
    document = parse(text, [])
    top = document.value if document else None
    providers = top["providers"].value if isinstance(top, dict) and "providers" in top else None
    own = providers if isinstance(providers, dict) else {}
    keyed = {line for entry in own.values() for _, line in _lines(entry)}
    marks, stray = {}, []
    for line, comment in _comments(text):
        mark, meant = _MARK.fullmatch(comment), _MEANT.match(comment)
        if meant is None or not (meant["ends"] is not None or line in keyed or comment.startswith("unverified")):
            continue
        if mark is None or line not in keyed:
            stray.append(line)
        else:
            marks[line] = mark["note"]
    bases = {name: _extends(entry) for name, entry in own.items()}
    return Written(
        inherit(own, []), {name: base for name, base in bases.items() if base is not None}, marks, tuple(stray)
    )


def at(entry: Node, *path: str) -> Node | None:
    """What stands at ``path``."""
    node: Node | None = entry
    for part in path:
        node = node.value.get(part) if node and isinstance(node.value, dict) else None
    return node


def _extends(entry: Node) -> str | None:
    found = at(entry, "extends")
    return found.value if found and isinstance(found.value, str) else None


def _lines(node: Node, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """Every value with its line, the outer ones first. Of an entry as a whole nothing can be unverified."""
    if path:
        yield path, node.line
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _lines(child, (*path, key))
    elif isinstance(node.value, list):
        for position, child in enumerate(node.value):
            yield from _lines(child, (*path, position))


def _alone(entry: Node, path: Path) -> bool:
    """Whether the mapping at ``path`` holds one key and nothing else."""
    node = at(entry, *map(str, path))
    return node is not None and isinstance(node.value, dict) and len(node.value) == 1


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """The line of each comment, and what it says."""
    inside: dict[int, list[tuple[int, int]]] = {}
    for token in yaml.scan(text):
        if isinstance(token, yaml.ScalarToken):
            for line in range(token.start_mark.line, token.end_mark.line + 1):
                begins = token.start_mark.column if line == token.start_mark.line else 0
                ends = token.end_mark.column if line == token.end_mark.line else len(text)
                inside.setdefault(line, []).append((begins, ends))
    for number, content in enumerate(text.splitlines()):
        for match in re.finditer(r"(?:^|(?<=\s))#", content):
            if not any(begins <= match.start() < ends for begins, ends in inside.get(number, ())):
                yield number + 1, content[match.end() :].strip()
                break

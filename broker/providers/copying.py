"""Entries as text: taken out of one file and put into another, with their comments and marks.

A file keeps all that stands in it; an entry is put behind its last one. What an entry refers to by an alias (``*name``)
and that is anchored outside of it goes along, in the alias' place.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import yaml
from yaml.nodes import CollectionNode, MappingNode, ScalarNode

from broker.errors import ConfigurationError

_FIRST: Final = "providers:\n"
_INDENT: Final = 2
_NULL: Final = "tag:yaml.org,2002:null"
Named = TypeVar("Named", bound=yaml.AliasToken | yaml.AnchorToken)


@dataclass(frozen=True, slots=True)
class EntryText:
    """The lines of an entry, its comments above it, all of it moved to the left edge."""

    name: str
    text: str

    def named(self, name: str) -> "EntryText":
        """The same under another name."""
        own = re.compile(rf"^{re.escape(self.name)}(?=\s*:)", re.MULTILINE)
        return EntryText(name, own.sub(lambda _: name, self.text, count=1))


def entry_of(text: str, name: str) -> EntryText:
    """The entry ``name`` of the file ``text``, which loads and has it."""
    entries, lines = _entries(text), text.splitlines()
    starts = {key.value: key.start_mark for key, _ in entries}
    begin, indent = starts[name].line, starts[name].column
    end = min((mark.line for mark in starts.values() if mark.line > begin), default=len(lines))
    if end < len(lines):
        end = _comments_above(lines, end, indent)
    first = _comments_above(lines, begin, indent)
    block = lines[first:end]
    own = range(begin, end)
    for alias in reversed(_tokens(text, yaml.AliasToken)):
        line = alias.start_mark.line
        if line in own and (source := _anchored(text, alias, own)) is not None:
            content = block[line - first]
            before = content[: alias.start_mark.column]
            before = before.rstrip() if source.startswith("\n") else before
            block[line - first] = before + source + content[alias.end_mark.column :]
    moved = "\n".join(block).rstrip().splitlines()
    return EntryText(name, "\n".join(line[indent:] if not line[:indent].strip() else line for line in moved) + "\n")


def names_in(text: str) -> tuple[str, ...]:
    """The entries of a file, which may be empty.

    :raises ConfigurationError: it can't be read as YAML, or isn't written so that an entry can be put into it.
    """
    return tuple(str(key.value) for key, _ in _entries(text))


def with_entry(text: str, entry: EntryText) -> str:
    """The file ``text`` with ``entry`` behind all that stands in it.

    :raises ConfigurationError: as :func:`names_in`.
    """
    entries = _entries(text)
    if not entries:
        text = _without_nothing(text)
    indent = " " * (entries[0][0].start_mark.column if entries else _INDENT)
    taken = [token.value for token in _tokens(text, yaml.AnchorToken)]
    own = _with_anchors_of_its_own(entry.text, taken)
    block = "".join(f"{indent}{line}" if line.strip() else line for line in own.splitlines(keepends=True))
    if not entries and not re.search(r"^providers:", text, re.MULTILINE):
        text = f"{text.rstrip()}\n\n{_FIRST}" if text.strip() else _FIRST
    gap = "\n" if entries else ""
    return f"{text.rstrip()}\n{gap}{block}"


def _without_nothing(text: str) -> str:
    """``text``, which has no entries, without the ``{}`` or ``null`` that may say so."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, value in root.value if isinstance(root, MappingNode) else ():
        if key.value == "providers" and value.start_mark.index < value.end_mark.index:
            return text[: value.start_mark.index].rstrip() + text[value.end_mark.index :]
    return text


def _comments_above(lines: list[str], line: int, indent: int) -> int:
    """The first line of the comment that stands right above ``line``; ``line`` itself where there is none."""
    above = " " * indent + "#"
    while line > 0 and lines[line - 1].startswith(above):
        line -= 1
    return line


def _anchored(text: str, alias: yaml.AliasToken, own: range) -> str | None:
    """What to write instead of ``alias``; ``None``: the alias itself, as its anchor comes along."""
    anchor = next(token for token in _tokens(text, yaml.AnchorToken) if token.value == alias.value)
    if anchor.start_mark.line in own:
        return None
    nodes = (each for _, entry in _entries(text) for each in _nodes(entry))
    node = next(node for node in nodes if node.start_mark.index == anchor.start_mark.index)
    source = text[anchor.end_mark.index : node.end_mark.index].rstrip()
    if "\n" not in source:
        return source.strip()
    # A mapping in lines of its own, as far to the right as it was: entries are alike in their depth. It ends where the
    # next key begins, so that key's comment has to go.
    lines = source.splitlines()
    while not lines[-1].strip() or lines[-1].lstrip().startswith("#"):
        lines.pop()
    return "\n".join(lines).lstrip(" ")


def _nodes(node: yaml.Node) -> Iterator[yaml.Node]:
    """``node`` and all that it holds."""
    yield node
    for child in node.value if isinstance(node, CollectionNode) else ():
        for each in child if isinstance(child, tuple) else (child,):
            yield from _nodes(each)


def _with_anchors_of_its_own(block: str, taken: Collection[str]) -> str:
    """``block`` with other names for anchors that are ``taken``: a file can't have two of one name."""
    renamed = {token.value: _free(token.value, taken) for token in _tokens(block, yaml.AnchorToken)}
    for token in reversed(_tokens(block, yaml.AnchorToken, yaml.AliasToken)):
        # The sign before the name stays.
        block = block[: token.start_mark.index + 1] + renamed[token.value] + block[token.end_mark.index :]
    return block


def _free(name: str, taken: Collection[str]) -> str:
    """``name``, or where that is taken ``name-2``, ``name-3`` …"""
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(each for each in names if each not in taken)


def _tokens(text: str, *kinds: type[Named]) -> list[Named]:
    return [token for token in yaml.scan(text) if isinstance(token, kinds)]


def _entries(text: str) -> list[tuple[ScalarNode, yaml.Node]]:
    """Keys and values under ``providers:``."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise ConfigurationError(["the providers file is not valid YAML; broker providers check says where"]) from None
    if root is None:
        return []
    pairs = root.value if isinstance(root, MappingNode) else []
    found = [value for key, value in pairs if isinstance(key, ScalarNode) and key.value == "providers"]
    if not pairs or not found:
        raise ConfigurationError(["the providers file has no providers: to put an entry under"])
    if (isinstance(found[0], MappingNode) and not found[0].value) or found[0].tag == _NULL:
        return []
    if not isinstance(found[0], MappingNode) or found[0].flow_style:
        raise ConfigurationError(["entries can be added to a file whose entries stand in lines of their own only"])
    return [(key, value) for key, value in found[0].value if isinstance(key, ScalarNode)]

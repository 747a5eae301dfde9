"""YAML text → a tree that remembers its lines.

A plain value is the text that the file spells, or null: which texts are numbers or truth values is the schema's
business, and YAML's own guess (``off``, ``007``, ``12:30``) would lose how they were written. Stricter than YAML
where that catches mistakes: a key may stand once, keys are text, and there are no tags. Aliases work, but a file
can't use them to grow without bound or into itself.
"""

import re
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from broker.providers.faults import Fault, Path

MAX_VALUES = 200_000
"""How many values a file may hold once its aliases are expanded ("billion laughs")."""

_MAP, _SEQ, _STR, _NULL = (f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "null"))
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_SYNTAX = re.compile(r"<[a-z ]+>|[^\w\s]")
"""What may be repeated of an error of the parser: its own names for things, and single punctuation marks."""
_TAB = r"character '\t'"
"""How the library quotes the one blank that can't be seen, and that editors put in by themselves."""


@dataclass(frozen=True, slots=True)
class Unset:
    """Stands where a value is not known: it needs ``variables`` that are not set, or it is at fault itself."""

    variables: tuple[str, ...] = ()


Value = str | Unset | list["Node"] | dict[str, "Node"] | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line it is written on; for a mapping's values, the line of the key."""

    value: Value
    line: int


class _Loader(yaml.SafeLoader):
    """Takes plain scalars for text, except those that YAML spells null with (YAML 1.1, "Null")."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - it replaces the library's, which is declared like this


_Loader.add_implicit_resolver(_NULL, re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])


class _RefusedError(Exception):
    def __init__(self, node: yaml.Node, path: Path, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(node.start_mark.line + 1, path, message)


def parse(text: str, faults: list[Fault]) -> Node | None:
    """The tree of ``text``; ``None`` where it can't be read at all. What is wrong is added to ``faults``."""
    try:
        root = yaml.compose(text, Loader=_Loader)
        return _Reader(faults).read(root, ()) if root is not None else Node(None, 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = _QUOTED.sub(_only_syntax, error.problem or "")
        if _TAB in (error.problem or ""):
            problem = "a tab stands where only spaces may; YAML is indented with spaces"
        faults.append(Fault(mark.line + 1 if mark else 1, (), f"not valid YAML: {problem}"))
    except yaml.YAMLError:
        faults.append(Fault(1, (), "not valid YAML: it holds characters that are not allowed"))
    except RecursionError:
        faults.append(Fault(1, (), "is nested too deeply"))
    except _RefusedError as refused:
        faults.append(refused.fault)
    return None


def _only_syntax(quoted: re.Match[str]) -> str:
    """The library quotes the word it stumbled over, which can be a secret that lacks its own quotes."""
    return quoted[0] if _SYNTAX.fullmatch(quoted[1] or quoted[2] or "") else "…"


class _Reader:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._left = MAX_VALUES
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: Path, line: int | None = None) -> Node:
        self._left -= 1
        if self._left < 0:
            raise _RefusedError(node, (), f"holds more than {MAX_VALUES} values once its aliases are expanded")
        if id(node) in self._open:
            raise _RefusedError(node, path, "an alias refers to the value that it is part of")
        self._open.add(id(node))
        value = self._value(node, path)
        self._open.remove(id(node))
        return Node(value, line or node.start_mark.line + 1)

    def _value(self, node: yaml.Node, path: Path) -> Value:
        if isinstance(node, MappingNode) and node.tag == _MAP:
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == _SEQ:
            return [self.read(item, (*path, position)) for position, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and node.tag in {_STR, _NULL}:
            return str(node.value) if node.tag == _STR else None
        self._fault(node, path, "tags such as !!binary are not supported")
        return Unset()

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Node]:
        values: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._fault(key, path, "a key must be plain text")
            elif key.value == "<<" and key.style is None:
                self._fault(key, path, "merge keys (<<) are not supported; use extends")
            elif key.value in values:
                first = values[key.value].line
                self._fault(key, (*path, key.value), f"duplicate key, already on line {first}")
            else:
                values[key.value] = self.read(value, (*path, key.value), key.start_mark.line + 1)
        return values

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        self._faults.append(Fault(node.start_mark.line + 1, path, message))

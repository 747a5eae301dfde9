"""``${VAR}`` and ``${VAR:-default}`` → what the environment says.

It happens after parsing, inside text values only, and once: whatever a variable holds stays one value and can
neither add YAML nor name further variables. ``$${`` stands for ``${`` itself. Where ``VAR`` is not set, and
``VAR_FILE`` is, the file of that name is read: secrets that are mounted, or have several lines, need no detour.
"""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath

from broker.providers.document import Node, Unset
from broker.providers.faults import Fault, Path

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bad>\$\{)")
_MOST = 100_000
"""Bytes of a file that a variable names; keys and secrets have far fewer."""


def substitute(node: Node, environ: Mapping[str, str], faults: list[Fault], path: Path = ()) -> Node:
    """``node`` with its references replaced. A variable that is unset or empty, and has no default, makes the
    whole value ``Unset``; so does an empty default where nothing stands beside it."""
    value = node.value
    if isinstance(value, dict):
        return Node({k: substitute(child, environ, faults, (*path, k)) for k, child in value.items()}, node.line)
    if isinstance(value, list):
        children = [substitute(child, environ, faults, (*path, n)) for n, child in enumerate(value)]
        return Node(children, node.line)
    if not isinstance(value, str) or "${" not in value:
        return node
    if any(match["bad"] for match in _REFERENCE.finditer(value)):
        faults.append(Fault(node.line, path, "a ${ is not followed by a variable's name and a closing brace"))
        return Node(Unset(), node.line)
    try:
        said = {name: _said(name, environ) for name in (match["name"] for match in _REFERENCE.finditer(value)) if name}
    except _UnusableVariable as error:
        faults.append(Fault(node.line, path, str(error)))
        return Node(Unset(), node.line)
    unset = [
        match["name"]
        for match in _REFERENCE.finditer(value)
        if match["name"] and not said[match["name"]] and match["default"] is None
    ]
    if unset:
        return Node(Unset(tuple(unset)), node.line)
    replaced = _REFERENCE.sub(lambda match: _replacement(match, said), value)
    # Nothing is left only of references to nothing: as good as unset, and no field is meant to be empty like that.
    return Node(replaced or Unset(tuple(match["name"] for match in _REFERENCE.finditer(value))), node.line)


class _UnusableVariable(Exception):
    """What a variable names can't be read. The text is safe to show."""


def _said(name: str, environ: Mapping[str, str]) -> str:
    """What the variable, or the file that ``NAME_FILE`` names, holds; empty: nothing."""
    value, file = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if not file:
        return value
    if value:
        raise _UnusableVariable(f"{name} and {name}_FILE are set; only one of them may be")
    try:
        with FilePath(file).open("rb") as opened:
            content = opened.read(_MOST + 1)
        text = content.decode().strip()
    except FileNotFoundError:
        raise _UnusableVariable(f"{name}_FILE: the file does not exist") from None
    except (OSError, ValueError):
        raise _UnusableVariable(f"{name}_FILE: the file can't be read as UTF-8 text") from None
    if not text or len(content) > _MOST:
        raise _UnusableVariable(f"{name}_FILE: the file is {'too large' if text else 'empty'}")
    return text


def _replacement(match: re.Match[str], said: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "${"
    return said[match["name"]] or match["default"]

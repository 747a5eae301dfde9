"""``${VAR}`` and ``${VAR:-default}`` → what the environment says.

It happens after parsing, inside text values only, and once: whatever a variable holds stays one value and can
neither add YAML nor name further variables. ``$${`` stands for ``${`` itself.
"""

import re
from collections.abc import Mapping

from broker.providers.document import Node, Unset
from broker.providers.faults import Fault, Path

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bad>\$\{)")


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
    unset = [
        match["name"]
        for match in _REFERENCE.finditer(value)
        if match["name"] and not environ.get(match["name"]) and match["default"] is None
    ]
    if unset:
        return Node(Unset(tuple(unset)), node.line)
    replaced = _REFERENCE.sub(lambda match: _replacement(match, environ), value)
    # Nothing is left only of references to nothing: as good as unset, and no field is meant to be empty like that.
    return Node(replaced or Unset(tuple(match["name"] for match in _REFERENCE.finditer(value))), node.line)


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "${"
    return environ.get(match["name"]) or match["default"]

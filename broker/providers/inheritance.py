"""``extends: other``: an entry takes over what it doesn't say itself.

Mappings are merged key by key, anything else is replaced, and ``null`` takes a key away (RFC 7396's rules).
"""

from collections.abc import Mapping

from broker.providers.document import Node, Value
from broker.providers.faults import Fault, suggestion


def inherit(entries: Mapping[str, Node], faults: list[Fault]) -> dict[str, Node]:
    """Every entry with its ancestors merged in, ancestors first; what can't be resolved is left out."""
    chains = {name: _chain(name, entries, faults) for name in entries}
    resolved: dict[str, Node] = {}
    for name, chain in sorted(chains.items(), key=lambda item: len(item[1])):
        if chain:
            merged = entries[chain[-1]]
            for descendant in reversed(chain[:-1]):
                merged = _merge(merged, entries[descendant])
            resolved[name] = _without_extends(merged)
    return resolved


def _chain(name: str, entries: Mapping[str, Node], faults: list[Fault]) -> list[str]:
    """``name``, what it extends, what that extends …; empty where one is unknown or it never ends."""
    chain, own = [name], _extends(entries[name])
    link = own
    while own and link:
        target = link.value
        message = _fault(target, entries, chain)
        if message is None:
            chain.append(str(target))
            link = _extends(entries[chain[-1]])
            continue
        # A fault further up is told for the entry it stands in, not again for everybody below.
        if link is own or target == name:
            faults.append(Fault(own.line, ("providers", name, "extends"), message))
        return []
    return chain


def _fault(target: Value, entries: Mapping[str, Node], chain: list[str]) -> str | None:
    if not isinstance(target, str):
        return "must be the name of another entry"
    if target not in entries:
        return f"no such entry{suggestion(target, entries)}"
    return "the entry extends itself, directly or through others" if target in chain else None


def _extends(entry: Node) -> Node | None:
    return entry.value.get("extends") if isinstance(entry.value, dict) else None


def _without_extends(entry: Node) -> Node:
    if not isinstance(entry.value, dict):
        return entry
    return Node({key: child for key, child in entry.value.items() if key != "extends"}, entry.line)


def _merge(parent: Node, child: Node) -> Node:
    if not isinstance(parent.value, dict) or not isinstance(child.value, dict):
        return child
    merged = dict(parent.value)
    for key, value in child.value.items():
        merged[key] = _merge(merged[key], value) if key in merged else value
    return Node({key: value for key, value in merged.items() if value.value is not None}, child.line)

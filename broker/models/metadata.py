"""An app's own notes on a connection: any JSON object of bounded size and depth, and how it is changed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

MEMBERS: Final = 50
LONGEST_NAME: Final = 100
"""Characters of a member's name, at every level."""
_LEVELS: Final = 8
"""Objects and arrays within each other, the outermost counted."""
_BYTES: Final = 16 * 1024


def fault_of_metadata(metadata: Mapping[str, object]) -> str | None:
    """What is wrong with ``metadata``; ``None``: nothing."""
    if len(metadata) > MEMBERS:
        return f"at most {MEMBERS} members"
    # Before it is serialized: the depth of that recursion, and of every later one, is bounded here.
    fault = _fault_of_nesting(metadata, _LEVELS)
    if fault is not None:
        return fault
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        # RFC 8259 knows no NaN and no Infinity, RFC 3629 no lone surrogate, and no reader numbers without end.
        return "holds a number or a text that JSON can't carry"
    return f"at most {_BYTES // 1024} KiB of JSON" if len(text) > _BYTES else None


def merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """``target`` with ``patch`` merged in (RFC 7396): objects member by member, ``None`` removes, all else replaces."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            inner = result.get(name)
            result[name] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def _fault_of_nesting(value: object, levels: int) -> str | None:
    if isinstance(value, Mapping):
        if any(len(name) > LONGEST_NAME for name in value):
            return f"a name may have {LONGEST_NAME} characters"
        members: Iterable[object] = value.values()
    elif isinstance(value, list):
        members = value
    else:
        return None
    if not levels:
        return f"at most {_LEVELS} levels of objects and arrays"
    return next((fault for member in members if (fault := _fault_of_nesting(member, levels - 1))), None)

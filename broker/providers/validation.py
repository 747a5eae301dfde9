"""One entry's tree → ``Provider``, or its faults with line and path.

A value whose variable is not set is left out, and the field takes its default: the provider is listed as not
ready, but an unset variable is no fault. Whatever can be judged without it is judged all the same.
"""

from collections.abc import Iterator
from types import NoneType
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from broker.providers.document import Node, Unset
from broker.providers.faults import Fault, MisplacedError, Path, suggestion
from broker.providers.schema import Provider

_FROM_LOADER = frozenset(name for name, field in Provider.model_fields.items() if field.exclude)
"""Fields of ``Provider`` that the file can't set."""
_IN_YAMLS_WORDS: Final = {
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be text",
    "missing": "required, but missing",
}
"""What the library says in Python's words."""


def validate(name: str, entry: Node, faults: list[Fault]) -> Provider | None:
    """The provider that ``entry`` (inherited, substituted) describes; ``None`` where it has faults."""
    unset: dict[Path, tuple[str, ...]] = {}
    data = _plain(entry, (), unset)
    if not isinstance(data, dict):
        faults.append(Fault(entry.line, ("providers", name), "must be a mapping"))
        return None
    given = sorted(_FROM_LOADER & data.keys())
    faults.extend(Fault(_line(entry, (key,)), ("providers", name, key), "unknown key") for key in given)
    variables = tuple(dict.fromkeys(variable for path in unset for variable in unset[path]))
    data |= {"name": name, "missing_variables": variables}
    holes = set(unset)
    while True:
        try:
            return Provider.model_validate(data, context={"unset": frozenset(path[0] for path in holes)})
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
        lacking = {fault["loc"] for fault in wrong if fault["type"] == "missing"} & holes
        if len(lacking) < len(wrong):
            break
        for path in lacking:
            holes.add(_widen(path, data, name))
    faults.extend(_faults(name, entry, [fault for fault in wrong if fault["loc"] not in lacking]))
    return None


def _plain(node: Node, path: Path, unset: dict[Path, tuple[str, ...]]) -> Any:  # noqa: ANN401 - what YAML holds
    """``node`` as plain data without its ``Unset`` values, which are noted in ``unset``."""
    if isinstance(node.value, dict):
        plain = {key: _plain(child, (*path, key), unset) for key, child in node.value.items()}
        return {key: value for key, value in plain.items() if (*path, key) not in unset}
    if isinstance(node.value, list):
        items = [_plain(child, (*path, position), unset) for position, child in enumerate(node.value)]
        return [item for position, item in enumerate(items) if (*path, position) not in unset]
    if isinstance(node.value, Unset):
        unset[path] = node.value.variables
        return None
    return node.value


def _widen(path: Path, data: dict[str, Any], name: str) -> Path:
    """Keeps a required field that is unset from being missed, and says what is unset by that.

    Its whole section goes; at the top, where only what people read is required, the entry's name stands in.
    """
    if len(path) == 1:
        data[str(path[0])] = name
        return path
    section = data
    for part in path[:-2]:
        section = section[str(part)]
    section.pop(str(path[-2]), None)
    return path[:-1]


def _faults(name: str, entry: Node, errors: list[Any]) -> Iterator[Fault]:
    # The keys of an entry depend on its type: with an unknown type, only that is worth saying.
    of_type = [error for error in errors if error["loc"] == ("type",)]
    for error in of_type or errors:
        path: Path = tuple(part for part in error["loc"] if part != "[key]")
        raised = error.get("ctx", {}).get("error")
        if isinstance(raised, MisplacedError):
            path += raised.path
        message = error["msg"].removeprefix("Value error, ")
        message = f"{message[0].lower()}{message[1:]}"
        if error["type"] == "extra_forbidden":
            message = f"unknown key{suggestion(str(path[-1]), _keys_at(path[:-1]))}"
        message = _IN_YAMLS_WORDS.get(error["type"], message)
        yield Fault(_line(entry, path), ("providers", name, *path), message)


def _line(entry: Node, path: Path) -> int:
    """The line of what stands at ``path``, or of the nearest thing around it."""
    node = entry
    for part in path:
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[str(part)]
        elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            break
    return node.line


def _keys_at(path: Path) -> list[str]:
    """The keys that the schema knows at ``path``."""
    annotation: Any = Provider
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
            annotation = next((arm for arm in get_args(annotation) if NoneType in get_args(annotation)), annotation)
        else:
            annotation = get_args(annotation)[-1]
    return [key for key in getattr(annotation, "model_fields", ()) if key not in _FROM_LOADER]

"""``providers.yaml`` → ``Registry``, or every fault at once."""

from collections.abc import Mapping
from pathlib import Path

from broker.errors import ConfigurationError
from broker.providers.document import Node, parse
from broker.providers.faults import Fault, suggestion
from broker.providers.inheritance import inherit
from broker.providers.registry import Registry
from broker.providers.schema import NAME
from broker.providers.validation import validate
from broker.providers.variables import substitute

MAX_BYTES = 1_000_000
"""No real file comes near; it bounds the time that reading takes."""


def load_providers(path: Path, environ: Mapping[str, str]) -> Registry:
    """The providers that ``path`` defines, with ``${VAR}`` taken from ``environ``.

    :raises ConfigurationError: all faults at once, each naming file, line and key, and never a value.
    """
    return load_text(read_text(path), path, environ)


def read_text(path: Path) -> str:
    """What the file at ``path`` holds.

    :raises ConfigurationError: it can't be read, is too large, or no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            [f"{path.absolute()}: can't be read: {reason} (BROKER_PROVIDERS_FILE says where it is)"]
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: is not UTF-8 text"]) from None
    if len(content) > MAX_BYTES:
        raise ConfigurationError([f"{path}: is larger than {MAX_BYTES} bytes"])
    return text


def load_text(text: str, path: Path, environ: Mapping[str, str]) -> Registry:
    """As :func:`load_providers`, for a file whose text is known.

    :param path: what faults call it.
    :raises ConfigurationError: naming every fault.
    """
    faults: list[Fault] = []
    document = parse(text, faults)
    entries = _entries(substitute(document, environ, faults), faults) if document else {}
    providers = [validate(name, entry, faults) for name, entry in inherit(entries, faults).items()]
    if faults:
        raise ConfigurationError([fault.render(str(path)) for fault in _distinct(faults)])
    return Registry(provider for provider in providers if provider)


def _entries(document: Node, faults: list[Fault]) -> dict[str, Node]:
    """What stands under ``providers:``."""
    if not isinstance(document.value, dict) or "providers" not in document.value:
        faults.append(
            Fault(document.line, ("providers",), "required, but missing; the entries stand under it, indented")
        )
        return {}
    for key, node in document.value.items():
        if key != "providers":
            hint = suggestion(key, ["providers"])
            if not hint and isinstance(node.value, dict):
                hint = " (if it is an entry: indent it under providers:)"
            faults.append(Fault(node.line, (key,), f"unknown key{hint}"))
    providers = document.value["providers"]
    if not isinstance(providers.value, dict):
        faults.append(Fault(providers.line, ("providers",), "must be a mapping of names to entries"))
        return {}
    for name, entry in providers.value.items():
        if not NAME.fullmatch(name):
            message = "a name is a lower-case letter and up to 63 of a-z 0-9 _ -"
            faults.append(Fault(entry.line, ("providers", name), message))
    return {name: entry for name, entry in providers.value.items() if NAME.fullmatch(name)}


def _distinct(faults: list[Fault]) -> list[Fault]:
    """By line; a fault that others inherit once only, for the entry it stands in, which was judged first."""
    first: dict[tuple[int, str, tuple[str | int, ...]], Fault] = {}
    for fault in faults:
        first.setdefault((fault.line, fault.message, fault.path[2:]), fault)
    return sorted(first.values(), key=lambda fault: fault.line)

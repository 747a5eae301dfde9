"""Templates of a custom scheme, judged when the file is loaded: which names they may use, and in which place.

A ``{name}`` stands for a field of the credential, a parameter of the connection, a computed part that was defined
before, or, in what is computed, a part of the request. Whatever else stands in braces is text.
"""

from collections.abc import Collection, Mapping
from typing import Final

from broker.providers.credential_sections import Computed
from broker.providers.faults import MisplacedError, Path, suggestion
from broker.providers.fields import placeholders

REQUEST_PARTS: Final = frozenset({"method", "url", "host", "path", "query", "target", "body", "body_sha256"})
"""What a template can use of the request. ``target``: the path, and the query after a ``?``."""

_NOT_TO_BE_SET: Final = frozenset(
    {
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that belong to the connection, or that would make the request another one."""


def check_templates(
    *,
    fields: Collection[str],
    parameters: Collection[str],
    computed: Mapping[str, Computed],
    headers: Mapping[str, str],
    query: Mapping[str, str],
) -> None:
    """Return if every template can be filled in, whatever is handed in and requested.

    :raises MisplacedError: one can't; it leads to the key.
    """
    _check_names(fields, parameters, computed)
    known = {*fields, *parameters}
    for name, part in computed.items():
        later = computed.keys() - known
        for place, template, usable in (("over", part.over, known | REQUEST_PARTS), ("key", part.key, known)):
            _check(("computed", name, place), template, usable, later=later)
        known.add(name)
    for section, templates in (("headers", headers), ("query", query)):
        for name, template in templates.items():
            _check((section, name), template, known | (REQUEST_PARTS - {"body"}))
    _check_header_names(headers)


def _check_names(fields: Collection[str], parameters: Collection[str], computed: Mapping[str, Computed]) -> None:
    taken = {
        **dict.fromkeys(REQUEST_PARTS, "a part of the request"),
        **dict.fromkeys(parameters, "a parameter"),
    }
    for section, names in (("fields", fields), ("computed", computed)):
        for name in names:
            if name in taken:
                raise MisplacedError((section, name), f"is already the name of {taken[name]}")
        taken |= dict.fromkeys(names, "a field" if section == "fields" else "a computed part")


def _check(path: Path, template: str, usable: Collection[str], *, later: Collection[str] = ()) -> None:
    for name in sorted(placeholders(template) - set(usable)):
        if name in later:
            raise MisplacedError(path, f"uses {{{name}}}, which is computed only after it")
        if name == "body":
            raise MisplacedError(path, "uses {body}, which only what is computed over it can do")
        raise MisplacedError(path, f"uses {{{name}}}, which is nothing known{suggestion(name, usable)}")


def _check_header_names(headers: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for name in headers:
        lower = name.lower()
        if lower in _NOT_TO_BE_SET:
            raise MisplacedError(("headers", name), "can't be set: it belongs to the transport")
        if lower in seen:
            raise MisplacedError(("headers", name), "stands here twice: header names are the same in any case")
        seen.add(lower)

"""A credential that providers hand out as a JSON file, handed in so: as text, as an object, or member by member.

Pure. Which members count the provider's type says; the others are dropped unread, among them the addresses that a file
names: where a credential is sent the operator decides.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from broker.errors import FieldFault, InvalidCredentials
from broker.providers.kinds import Document

_LONGEST: Final = 32_768


def unfolded(document: Document | None, credentials: Mapping[str, Any]) -> Mapping[str, Any]:
    """``credentials`` with the members of the file in their places, and without what of it nobody needs.

    :raises InvalidCredentials: what stands for the file is none, or one of another kind.
    """
    if document is None:
        return credentials
    beside = {name: value for name, value in credentials.items() if name != document.field}
    given = credentials.get(document.field)
    if given is None or given == "":
        # The file itself, perhaps: then it says so.
        return _members(document, beside, "credentials") if beside.keys() & document.marks.keys() else beside
    where = f"credentials.{document.field}"
    members = _members(document, _read(given, where), where)
    twice = sorted(members.keys() & beside.keys())
    if twice:
        raise _fault(f"credentials.{twice[0]}", "stands in the file, too")
    return {**members, **beside}


def _members(document: Document, members: Mapping[str, Any], where: str) -> dict[str, Any]:
    for name, mark in document.marks.items():
        if members.get(name) != mark:
            raise _fault(where, f"is a file of another kind: its {name} is not {mark}")
    return {name: value for name, value in members.items() if name not in document.others}


def _read(given: object, where: str) -> Mapping[str, Any]:
    if isinstance(given, str):
        if len(given) > _LONGEST:
            raise _fault(where, f"may have {_LONGEST} characters")
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise _fault(where, "is no JSON: it takes the whole file, from { to }") from None
    if not isinstance(given, Mapping):
        raise _fault(where, "must be a JSON object")
    return given


def _fault(field: str, message: str) -> InvalidCredentials:
    return InvalidCredentials.malformed([FieldFault(field, message)])

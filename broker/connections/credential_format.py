"""What is handed in as a credential, judged by its looks alone: the first of three steps.

Which fields there are the provider's type says, and what they look like its entry. Pure; no answer repeats a value.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

from broker.connections.credential_document import unfolded
from broker.errors import FieldFault, InvalidCredentials
from broker.providers import Provider
from broker.providers.credential_sections import CredentialField, FieldFormat
from broker.providers.private_keys import read_private_key

_LONGEST: Final = 16_384
"""Characters of one field: a private key has less than a quarter of that."""


def read_fields(provider: Provider, credentials: Mapping[str, Any], *, patterns: bool = True) -> dict[str, str]:
    """The fields of ``credentials`` that are filled in, as text without space around it.

    :param patterns: whether they have to look as the entry's patterns say. Their formats are needed in any case: what
        has another can't be used.
    :raises InvalidCredentials: naming each field that is missing, unknown or malformed.
    """
    rules, credentials = provider.credential_fields, unfolded(provider.kind.document, credentials)
    faults = []
    if not credentials.keys() <= rules.keys():
        # Not by its name: somebody may have put the secret in the place of it.
        faults.append(FieldFault("credentials", f"an unknown member; there are: {', '.join(rules) or 'none'}"))
    fields: dict[str, str] = {}
    for name, rule in rules.items():
        value = credentials.get(name)
        if value is None or value == "":
            if not rule.optional:
                faults.append(FieldFault(f"credentials.{name}", "required"))
            continue
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        fault = _fault_of(rule, text, patterns=patterns)
        if fault is None:
            fields[name] = text.strip()
        else:
            faults.append(FieldFault(f"credentials.{name}", fault))
    if faults:
        raise InvalidCredentials.malformed(faults)
    return fields


def _fault_of(rule: CredentialField, text: object, *, patterns: bool) -> str | None:
    if not isinstance(text, str):
        return "must be text"
    value = text.strip()
    if not value:
        return "is blank"
    if len(value) > _LONGEST:
        return f"may have {_LONGEST} characters"
    # A line break that came along when it was copied is cut off; within, it would end a header.
    shown = value.replace("\r\n", "\n").replace("\n", "") if rule.multiline else value
    if not shown.isprintable():
        return "holds characters that can't be seen"
    if (fault := _FORMATS[rule.format](value)) is not None:
        return fault
    if patterns and rule.pattern is not None and not re.fullmatch(rule.pattern, value):
        return "does not look like one" + (f": {rule.help}" if rule.help else f", which must match {rule.pattern}")
    return None


def _must_match(pattern: str, message: str) -> Callable[[str], str | None]:
    return lambda value: None if re.fullmatch(pattern, value) else message


def _private_key(value: str) -> str | None:
    try:
        read_private_key(value)
    except ValueError as error:
        return str(error)
    return None


def _base64(value: str) -> str | None:
    try:
        b64decode(value, validate=True)
    except ValueError:
        return "must be base64"
    return None


_FORMATS: Final[Mapping[FieldFormat, Callable[[str], str | None]]] = {
    "text": lambda _: None,
    "token": _must_match(r"[\x20-\x7e]+", "holds characters that no header can hold"),
    "digits": _must_match(r"[0-9]{1,20}", "must be a number"),
    "private_key": _private_key,
    "base64": _base64,
    "hex": _must_match(r"([0-9A-Fa-f]{2})+", "must be hexadecimal"),
}
"""What is wrong with a value that should be of this format; ``None``: nothing."""

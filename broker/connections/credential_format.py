"""What is handed in as a credential, judged by its looks alone: the first of three steps.

Which fields there are the provider's type says, and what they look like its entry. Pure; no answer repeats a value.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from broker.errors import FieldFault, InvalidCredentials
from broker.providers import Provider
from broker.providers.credential_sections import CredentialField

_LONGEST: Final = 16_384
"""Characters of one field: a private key has less than a quarter of that."""


def read_fields(provider: Provider, credentials: Mapping[str, Any], *, patterns: bool = True) -> dict[str, str]:
    """The fields of ``credentials`` that are filled in, as text without space around it.

    :param patterns: whether they have to look as the entry says.
    :raises InvalidCredentials: naming each field that is missing, unknown or malformed.
    """
    rules = provider.credential_fields
    faults = [FieldFault(f"credentials.{name}", "unknown") for name in credentials if name not in rules]
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
        names = ", ".join(fault.field for fault in faults)
        raise InvalidCredentials("format", f"the credentials are not what the provider takes: {names}", faults)
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
    if patterns and rule.pattern is not None and not re.fullmatch(rule.pattern, value):
        return "does not look like one" + (f": {rule.help}" if rule.help else f", which must match {rule.pattern}")
    return None

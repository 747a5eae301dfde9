"""Which format a file is in: by the name that the operator gives it, or by how it begins."""

import re
from collections.abc import Mapping
from typing import Final

from broker.connections.moving.formats.allauth import Allauth
from broker.connections.moving.formats.authjs import AuthJs
from broker.connections.moving.formats.csv_table import CsvTable
from broker.connections.moving.formats.json_rows import JsonRows
from broker.connections.moving.formats.nango import Nango
from broker.connections.moving.formats.reading import Reader
from broker.connections.moving.formats.sealed import SealedExport
from broker.connections.moving.lines import BOM
from broker.errors import FieldFault, InvalidRequest

FORMATS: Final[Mapping[str, Reader]] = {
    "csv": CsvTable(),
    "jsonl": JsonRows(),
    "nango": Nango(),
    "authjs": AuthJs(),
    "django-allauth": Allauth(),
    "export": SealedExport(),
}
"""Every format, by its name on the command line."""

_MARKS: Final = (
    # A JWE: the base64 of {".
    (re.compile(rb"eyJ[0-9A-Za-z_-]*\."), "export"),
    (re.compile(rb'\s*[\[{].*"provider_config_key"\s*:', re.DOTALL), "nango"),
    (re.compile(rb'\s*[\[{].*"model"\s*:\s*"(socialaccount|account|sites)\.', re.DOTALL), "django-allauth"),
    (re.compile(rb'\s*[\[{].*"(providerAccountId|provider_account_id)"\s*:', re.DOTALL), "authjs"),
    (re.compile(rb"\s*[\[{]"), "jsonl"),
    (re.compile(rb"[^\r\n]*\b(providerAccountId|provider_account_id)\b"), "authjs"),
    (re.compile(rb"[^\r\n]*[,;\t]"), "csv"),
)
"""How files of a format begin, the more particular first."""


def reader(name: str | None, head: bytes) -> Reader:
    """The reader of the format ``name``; without a name, of the one that ``head``, a file's first kilobytes, shows.

    :raises InvalidRequest: there is no such format, or none can be told.
    """
    if name is None:
        head = head.removeprefix(BOM)
        name = next((format_name for mark, format_name in _MARKS if mark.match(head)), None)
        if name is None:
            raise _unknown("can't be told from how the file begins")
    found = FORMATS.get(name)
    if found is None:
        raise _unknown("is none of ours")
    return found


def _unknown(why: str) -> InvalidRequest:
    return InvalidRequest(
        "the file can't be read", [FieldFault("--format", f"the format {why}; there are: {', '.join(FORMATS)}")]
    )

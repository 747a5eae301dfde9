"""How a client proves itself, as it stands on a command line: files of keys, ``issuer=…,subject=…,audience=…``."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from broker.errors import FieldFault, InvalidRequest
from broker.models.access import Workload

_LARGEST_FILE: Final = 64 * 1024
_PARTS: Final = ("issuer", "subject", "audience", "jwks_file")
# A subject may hold commas and equals signs: a part ends where the next one's name begins.
_NEXT_PART: Final = re.compile(rf", *(?=(?:{'|'.join(_PARTS)})=)")
# In the other parts that is a part whose name was mistyped: "audience=a,jwks-file=f".
_ANOTHER_PART: Final = re.compile(r",\s*[A-Za-z_-]+=")


def keys_of(path: Path, option: str) -> dict[str, Any]:
    """The JWK Set in a file (RFC 7517 §5); one key alone counts as a set of one.

    :raises InvalidRequest: there is no such file, or something else is in it. Nothing of it is repeated, nor its name:
        somebody may have put the keys themselves there.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise _fault(option, f"the file holds more than {_LARGEST_FILE // 1024} KiB")
        document = json.loads(text)
    except OSError as error:
        raise _fault(option, f"the file can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise _fault(option, "the file holds no JSON") from None
    if not isinstance(document, dict):
        raise _fault(option, "the file holds no JWK Set")
    return document if "keys" in document else {"keys": [document]}


def workloads_of(texts: Sequence[str]) -> list[Workload]:
    """Workloads as ``issuer=…,subject=…,audience=…[,jwks_file=…]``.

    :raises InvalidRequest: a part is missing, unknown or there twice.
    """
    return [_workload(text, f"--workload {number}") for number, text in enumerate(texts, start=1)]


def _workload(text: str, option: str) -> Workload:
    pairs = [part.partition("=")[::2] for part in _NEXT_PART.split(text)]
    parts = dict(pairs)
    mistyped = any(value.endswith(",") for value in parts.values()) or any(
        _ANOTHER_PART.search(value) for name, value in pairs if name != "subject"
    )
    if len(parts) != len(pairs) or not parts.keys() <= set(_PARTS) or mistyped:
        raise _fault(option, f"its parts are {', '.join(_PARTS)}, each once")
    missing = [name for name in _PARTS[:3] if not parts.get(name)]
    if missing:
        raise _fault(option, f"{', '.join(missing)} missing")
    jwks = keys_of(Path(parts["jwks_file"]), option) if "jwks_file" in parts else None
    return Workload(parts["issuer"], parts["subject"], parts["audience"], jwks)


def _fault(option: str, message: str) -> InvalidRequest:
    return InvalidRequest("the client can't be registered", [FieldFault(option, message)])

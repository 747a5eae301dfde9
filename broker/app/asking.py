"""Asking a broker how it is, as anybody may: with the standard library alone, for a process that has loaded no more."""

import json
from typing import Any
from urllib.parse import urlsplit

_LONGEST = 64 * 1024
"""Bytes; a stranger may listen there, and talk without end."""


def ask(address: str, path: str, *, seconds: float) -> tuple[int, dict[str, Any]] | None:
    """The status and the JSON object that ``path`` answers; ``None`` where nobody answers that.

    :param address: ``http://host:port``.
    :param seconds: how long each step of the exchange may take.
    :raises TimeoutError: somebody is there, and silent.
    """
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - no start waits for it

    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = json.loads(answer.read(_LONGEST))
    except TimeoutError:
        raise
    except (OSError, HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    return (answer.status, body) if isinstance(body, dict) else None

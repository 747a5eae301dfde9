"""One request and its answer, told to whoever listens. Secrets are shortened here, before anybody sees them."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx2

_PREFIXED: Final = re.compile(r"\b((?:bat|brt|bcs|ref|pat|prt|pac)_[A-Za-z0-9_-]{4})[A-Za-z0-9_-]+")
_HANDLE: Final = re.compile(r"(/connect/[A-Za-z0-9_-]{8})[^/?\s\"]+")
_PARAMETER: Final = re.compile(r"([?&](?:code|state|code_challenge|completion_code)=[^&]{4})[^&\s\"]+")
_SECRET_FIELDS: Final = frozenset({"completion_code", "client_secret", "form_token"})
_TITLE: Final = re.compile(r"<title>\s*(.*?)\s*</title>", re.DOTALL)
_ID: Final = re.compile(r"\b((?:con|cs|cl)_[A-Za-z0-9]{6})[A-Za-z0-9]{16}\b")
_SECONDS: Final = 15.0

Hear = Callable[["Exchange"], None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Who asked whom for what, and the answer."""

    caller: str
    callee: str
    method: str
    target: str
    """Path and query, for reading: escapes are taken out."""
    credentials: str
    """The ``Authorization`` header, shortened; empty where there was none."""
    sent: Mapping[str, Any]
    status: int
    answered: Mapping[str, Any]


def shortened(text: str) -> str:
    """``text`` with only the beginning of every secret in it."""
    for secret in (_PREFIXED, _HANDLE, _PARAMETER):
        text = secret.sub(r"\1…", text)
    return text


def brief(text: str) -> str:
    """``text`` with ids, which are no secrets but long, cut to what tells them apart."""
    return _ID.sub(r"\1…", text)


def without_secrets(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body with only the beginning of every secret in it."""
    return {name: _shown(name, value) for name, value in body.items()}


def http_client(caller: str, places: Mapping[str, str], hear: Hear) -> httpx2.Client:
    """An HTTP client that tells ``hear`` about every exchange.

    :param places: what the programs are called, by the origin they answer at.
    """

    def tell(response: httpx2.Response) -> None:
        response.read()
        hear(_exchange(caller, places, response))

    # The demo talks to this machine only: a proxy that the environment names would be in the way.
    return httpx2.Client(trust_env=False, timeout=_SECONDS, event_hooks={"response": [tell]})


class Trace:
    """Exchanges of another process, handed over in a file that both know: a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def write(self, exchange: Exchange) -> None:
        """Hand an exchange over; the reader sees it when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(exchange)) + "\n")

    def new(self) -> list[Exchange]:
        """What was written since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            # A line without its end is still being written.
            written = file.read().rpartition(b"\n")[0]
        if not written:
            return []
        self._read += len(written) + 1
        return [Exchange(**json.loads(line)) for line in written.splitlines()]


def _exchange(caller: str, places: Mapping[str, str], response: httpx2.Response) -> Exchange:
    request = response.request
    parts = urlsplit(str(request.url))
    return Exchange(
        caller=caller,
        callee=places.get(f"{parts.scheme}://{parts.netloc}", parts.netloc),
        method=request.method,
        target=shortened(unquote(f"{parts.path}?{parts.query}" if parts.query else parts.path)),
        credentials=_credentials(request.headers.get("authorization", "")),
        sent=_sent(request),
        status=response.status_code,
        answered=_answered(response),
    )


def _credentials(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme == "Basic":
        client_id = base64.b64decode(value).decode().partition(":")[0]
        return f"Basic {client_id}:…"
    return shortened(header)


def _sent(request: httpx2.Request) -> dict[str, Any]:
    if not request.content:
        return {}
    if request.headers.get("content-type", "").startswith("application/json"):
        return without_secrets(json.loads(request.content))
    return without_secrets(dict(parse_qsl(request.content.decode())))


def _answered(response: httpx2.Response) -> dict[str, Any]:
    if "location" in response.headers:
        return {"Location": shortened(unquote(response.headers["location"]))}
    if "json" in response.headers.get("content-type", ""):
        return without_secrets(response.json())
    title = _TITLE.search(response.text)
    return {"page": title[1]} if title else {}


def _shown(name: str, value: object) -> object:
    match value:
        case str():
            return f"{value[:8]}…" if name in _SECRET_FIELDS else shortened(value)
        case dict():
            return without_secrets(value)
        case list():
            return [_shown(name, part) for part in value]
        case _:
            return value

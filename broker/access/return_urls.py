"""Whether a return address is the one that was registered."""

from typing import Final
from urllib.parse import urlsplit

_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def matches_return_url(registered: str, requested: str) -> bool:
    """Whether ``requested`` is the registered return address: the same, character by character (RFC 9700 §4.1.3).

    The one exception is the port of an http loopback address registered without one (RFC 8252 §7.3).
    """
    if registered == requested:
        return True
    known = urlsplit(registered)
    if known.scheme != "http" or known.hostname not in _LOOPBACK_HOSTS or known.netloc != _host_of(known.netloc):
        return False
    head, tail = f"http://{known.netloc}:", registered.removeprefix(f"http://{known.netloc}")
    if not requested.startswith(head) or not requested.endswith(tail):
        return False
    port = requested[len(head) : len(requested) - len(tail)]
    return port.isascii() and port.isdigit() and 0 < int(port) < 65536 and not port.startswith("0")


def _host_of(netloc: str) -> str:
    return netloc if netloc.startswith("[") and netloc.endswith("]") else netloc.partition(":")[0]

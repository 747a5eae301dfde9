"""Where a request to a provider's API goes: the operator's base address, and below it what the caller asked for.

What a caller writes is never decoded and encoded again: two spellings of a path that mean the same to us need not mean
the same to the provider. It is judged as it came, and sent as it came.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final
from unicodedata import normalize
from urllib.parse import quote, unquote, unquote_plus

import httpx2

from broker.errors import AddressRefused, Conflict, Forbidden, InvalidRequest
from broker.providers import Provider
from broker.upstream.address_guard import parse_address
from broker.upstream.endpoints import Endpoint
from broker.upstream.parameters import fill, host_is_fixed

_VISIBLE: Final = re.compile(r"[\x21-\x7e]*")
_BENT: Final = re.compile(r"[\\#\"<>^`{|}]")
"""What no path and no query holds in the clear (RFC 3986 §2), and what some servers read as a slash or an end."""
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTS: Final = re.compile(r"\.{1,2} *([;?#].*)?")
"""A segment that leads elsewhere; some servers take what follows a semicolon for a parameter of it, drop spaces, or
read an encoded question mark like a plain one."""
_LAYERS: Final = 6
"""Of percent-encoding that are looked through. Deeper ones no server takes off."""

Origin = tuple[str, bytes, int]


def base_of(provider: Provider, values: Mapping[str, str]) -> Endpoint:
    """The provider's API for a connection with these checked parameters; its address ends without a slash.

    :raises Conflict: the entry names none.
    """
    if provider.api is None:
        raise Conflict("the provider's entry names no API: api.base_url is missing")
    base = provider.api.base_url
    return Endpoint(fill(base, values).rstrip("/"), host_is_fixed(base))


def below(base: str, raw_path: str, raw_query: str) -> str:
    """The address of ``raw_path`` below ``base``, with ``raw_query``; both as they came, the path with its first slash.

    :raises InvalidRequest: it is malformed, or could be read as an address that is not below ``base``.
    """
    if not raw_path.startswith("/"):
        raise InvalidRequest("the path begins with a slash")
    _check_path(raw_path)
    _check_characters(raw_query, "query")
    # What begins with the base, letter by letter, and goes on with a slash, has its host: nothing can be read in two
    # ways. And what would lead up and out of its path was refused.
    return base + raw_path + (f"?{raw_query}" if raw_query else "")


def of_the_api(url: str, base: str) -> str:
    """``url``, if it is an address of the host that ``base`` is at.

    :raises InvalidRequest: it is no address that could be called.
    :raises Forbidden: it is at another host, or by another scheme or port.
    """
    if "#" in url:
        raise InvalidRequest("the address has user info or a fragment")
    try:
        written, read = _origins_of(base)
        # Nearly always it is spelt as the operator spelt it, and then nothing can be read in two ways.
        # But for a path that begins with its question mark: some read all before the first slash as the host.
        spelt_alike = url.startswith(f"{written}/")
        origin = read if spelt_alike else _origin(parse_address(url))
    except AddressRefused as error:
        raise InvalidRequest(error.detail) from None
    if not spelt_alike and "@" in url.partition("://")[2].partition("/")[0]:
        # Also with nothing before it.
        raise InvalidRequest("the address has user info or a fragment")
    if origin != read:
        raise Forbidden("the credential is only put on requests to the host of the provider's API")
    _check_path(_path_of(url))
    _check_characters(url.partition("?")[2], "query")
    return url


def path_below(url: str, base: str) -> str | None:
    """What follows ``base`` in ``url``, without the query; ``None``: it is not below ``base``."""
    path, prefix = _path_of(url), _path_of(base)
    return path.removeprefix(prefix) or "/" if f"{path}/".startswith(f"{prefix}/") else None


def with_query(url: str, added: Mapping[str, str]) -> str:
    """``url`` with the parameters ``added``, and without those of the caller that have the same names."""
    if not added:
        return url
    address, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and not _names(part, added)]
    fresh = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in added.items()]
    return f"{address}?{'&'.join([*kept, *fresh])}"


@lru_cache(maxsize=1024)
def _origins_of(base: str) -> tuple[str, Origin]:
    """The origin of ``base`` as it is written there, and as it is read. There are few, and each request is held against
    one."""
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}", _origin(parse_address(base))


def _names(part: str, names: Collection[str]) -> bool:
    """Whether a part of a query has one of these names, also for a server that ends parts with semicolons."""
    folded = {name.casefold() for name in names}
    return any(unquote_plus(piece.partition("=")[0]).casefold() in folded for piece in part.split(";"))


def _path_of(url: str) -> str:
    rest = url.partition("://")[2].partition("?")[0].partition("#")[0]
    return "/" + rest.partition("/")[2] if "/" in rest else ""


def _origin(url: httpx2.URL) -> Origin:
    return url.scheme, url.raw_host.lower(), url.port or (443 if url.scheme == "https" else 80)


def _check_characters(text: str, what: str) -> None:
    if not _VISIBLE.fullmatch(text) or _BENT.search(
        text.replace("{", "").replace("}", "") if what == "query" else text
    ):
        raise InvalidRequest(f"the {what} holds characters that have to be percent-encoded")
    if _BROKEN.search(text):
        raise InvalidRequest(f"the {what} holds a percent sign that encodes nothing")


def _check_path(path: str) -> None:
    _check_characters(path, "path")
    if path.startswith("//"):
        raise InvalidRequest("the path may not begin with two slashes")
    decoded = path
    for _ in range(_LAYERS):
        if any(character < " " or character == "\x7f" for character in decoded):
            raise InvalidRequest("the path holds an encoded control character")
        try:
            # Some servers fold characters that look alike.
            read = normalize("NFKC", decoded.encode("latin-1").decode())
        except UnicodeDecodeError:
            # Some decoders take it all the same, and find dots and slashes in it (RFC 3629 §10).
            raise InvalidRequest("the path holds bytes that are no UTF-8") from None
        if "\\" in read or any(_DOTS.fullmatch(segment) for segment in read.split("/")):
            raise InvalidRequest("the path holds a segment that leads out of its place")
        inner = unquote(decoded, encoding="latin-1")
        if inner == decoded:
            return
        decoded = inner
    raise InvalidRequest("the path is percent-encoded too often")

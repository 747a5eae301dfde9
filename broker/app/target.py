"""What a request is aimed at, of the forms that a target may have (RFC 9112 §3.2)."""

from urllib.parse import unquote

import httptools


def parts_of(target: bytes) -> tuple[str, bytes, bytes]:
    """The path that is meant, the path as it was sent, and the query.

    Nearly all targets are no more than a path and a query; any other takes a parser of addresses.

    :raises httptools.HttpParserInvalidURLError: it has no path.
    :raises UnicodeDecodeError: its path is not in ASCII.
    """
    if target.startswith(b"/") and target.isascii() and b"#" not in target:
        raw_path, _, query = target.partition(b"?")
    else:
        address = httptools.parse_url(target)
        if not address.path:
            raise httptools.HttpParserInvalidURLError
        raw_path, query = address.path, address.query or b""
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path, raw_path, query

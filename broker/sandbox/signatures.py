"""Signed requests, verified: the practice provider's own scheme, and AWS Signature Version 4. Pure.

The own scheme: HMAC-SHA-256, in hex, with the signing secret, over five lines: the time (Unix seconds), a nonce, the
method, the target (path, and the query after a ``?``), and the body's SHA-256 in hex.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

WINDOW: Final = 300
"""Seconds by which a signature's time may differ from the provider's."""

_UNRESERVED: Final = "-_.~"
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/"
    r"(?P<scope>(?P<date>\d{8})/[^/,\s]+/(?P<service>[^/,\s]+)/aws4_request), ?"
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it came."""

    method: str
    path: str
    """As it was sent, percent-encoded."""
    query: str
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path


class SignatureWrongError(Exception):
    """The request isn't signed as it should be; says what is wrong."""


def check_own(request: Signed, secret: str, *, timestamp: str, nonce: str, signature: str, now: float) -> None:
    """Return if the signature of the own scheme is right, and made now."""
    if not timestamp.isdecimal() or abs(int(timestamp[:12]) - now) > WINDOW:
        raise SignatureWrongError("the timestamp is not now")
    body_sha256 = hashlib.sha256(request.body).hexdigest()
    lines = "\n".join((timestamp, nonce, request.method, request.target, body_sha256))
    expected = hmac.new(secret.encode(), lines.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise SignatureWrongError("the signature is wrong")


@dataclass(frozen=True, slots=True)
class AwsSignature:
    """What an ``Authorization`` header of Signature Version 4 says."""

    access_key_id: str
    scope: str
    date: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str

    @classmethod
    def of(cls, authorization: str) -> "AwsSignature":
        """Raises :class:`SignatureWrongError` for what is no such header."""
        match = _AUTHORIZATION.fullmatch(authorization)
        if match is None:
            raise SignatureWrongError("the Authorization header is not that of Signature Version 4")
        return cls(
            match["key"],
            match["scope"],
            match["date"],
            match["service"],
            tuple(match["headers"].split(";")),
            match["signature"],
        )

    def check(self, request: Signed, secret: str, *, now: float) -> None:
        """Return if the signature is right, and made now."""
        moment = request.headers.get("x-amz-date", "")
        try:
            at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise SignatureWrongError("x-amz-date is missing or unreadable") from None
        if abs(at - now) > WINDOW or moment[:8] != self.date:
            raise SignatureWrongError("the signature's time is not now")
        needed = {"host", *(name for name in request.headers if name.startswith("x-amz-"))}
        if not needed <= set(self.signed_headers):
            raise SignatureWrongError("headers that have to be signed are not")
        body_sha256 = hashlib.sha256(request.body).hexdigest()
        if request.headers.get("x-amz-content-sha256", body_sha256) != body_sha256:
            raise SignatureWrongError("x-amz-content-sha256 is not that of the body")
        lines = ("AWS4-HMAC-SHA256", moment, self.scope, hashlib.sha256(self._canonical(request).encode()).hexdigest())
        key = f"AWS4{secret}".encode()
        for part in self.scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        expected = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, self.signature):
            raise SignatureWrongError("the signature is wrong")

    def _canonical(self, request: Signed) -> str:
        """The canonical request; paths are encoded once more, except for the one service that wants them as sent."""
        path = request.path if self.service == "s3" else quote(request.path, safe=f"/{_UNRESERVED}")
        pairs = (pair.partition("=") for pair in request.query.split("&") if pair)
        query = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
        headers = (f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in self.signed_headers)
        return "\n".join(
            (
                request.method,
                path or "/",
                "&".join(f"{name}={value}" for name, value in query),
                "".join(headers),
                ";".join(self.signed_headers),
                hashlib.sha256(request.body).hexdigest(),
            )
        )


def _encoded(value: str) -> str:
    return quote(unquote(value), safe=_UNRESERVED)

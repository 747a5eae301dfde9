"""The request that is to be authorized, and what a scheme adds to it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.errors import InvalidRequest

EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request without its credential."""

    method: str
    """In capitals."""
    url: str
    """Whole, with the query as it will be sent, but without what the scheme adds."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those that a signature may cover; names in lower case."""
    body: bytes | None = field(default=None, repr=False)
    """``None``: it is not at hand."""
    body_sha256: str = EMPTY_SHA256
    """In hex, lower case; of nothing, where the request has no body."""


class UnsignableError(InvalidRequest):
    """The request can't be signed as it is, or with the credential as it is."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What makes a request a connection's. It replaces what stands on the request under the same names."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names in lower case."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Not yet percent-encoded."""

    def secrets_without(self, public: Iterable[str]) -> tuple[str, ...]:
        """What no answer to the request may repeat: each value, without the name of a scheme before it.

        :param public: what is no secret of the credential; a value that shows it is none either, and what else stands
            in it is known by itself.
        """
        shown = [text for text in public if text]
        values = (*self.headers.values(), *self.query.values())
        hidden = (value for value in values if not any(text in value for text in shown))
        return tuple(part for value in hidden for part in {value, value.rpartition(" ")[2]})

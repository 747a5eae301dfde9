"""Broker tokens: opaque, 15 minutes long, hashed at rest."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock
from broker.errors import OAuthError
from broker.models.access import CLIENT_SCOPES, Caller, Client
from broker.models.ids import digest, new_secret
from broker.vault.documents import Documents
from broker.vault.stored import made_from

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,30}")
"""A scope (RFC 6749 §3.3). Ours are short; what is longer may be a secret in the wrong place, and is not repeated."""
_NAMED_AT_MOST: Final = 5

LIFETIME: Final = 900
"""Seconds a broker access token lives."""


@dataclass(frozen=True, slots=True)
class BrokerToken:
    """A broker token that was just issued: the only time it is known in the clear."""

    token: str = field(repr=False)
    scopes: tuple[str, ...]
    expires_in: int = LIFETIME


@dataclass(frozen=True, slots=True)
class Grant:
    """What a stored broker token stands for."""

    client_id: str
    tenant: str
    scopes: tuple[str, ...]
    issued_at: int
    expires_at: int
    tokens_from: int = 0
    """The client's, as it was read to prove who asked."""


class BrokerTokens:
    """Issues, finds and revokes broker tokens."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def issue(self, client: Client, requested: Collection[str] | None) -> BrokerToken:
        """A token with the scopes that were asked for, or all the client has (``None``).

        :raises OAuthError: ``invalid_scope``; the client lacks one of them (RFC 6749 §5.2).
        """
        if requested is not None and not requested:
            raise OAuthError("invalid_scope", "scope names none")
        if requested is not None and (lacking := set(requested) - set(client.scopes)):
            raise OAuthError("invalid_scope", f"the client lacks scopes that were asked for{_named(lacking)}")
        wanted = client.scopes if requested is None else requested
        scopes = tuple(scope for scope in CLIENT_SCOPES if scope in wanted)
        token, now = new_secret("bat"), self._clock()
        document = {
            "client_id": client.client_id,
            "tenant": client.tenant,
            "scopes": scopes,
            "issued_at": now,
            "expires_at": now + LIFETIME * 1000,
            "tokens_from": client.tokens_from,
        }
        await self._documents.put_broker_token(digest(token), document, lifetime=LIFETIME * 1000)
        return BrokerToken(token, scopes)

    async def find(self, token_digest: str) -> Grant | None:
        """What the token stands for, or ``None`` if it is unknown, over, or without a tenant."""
        document = await self._documents.broker_token(token_digest)
        if document is None or not document.get("tenant") or document["expires_at"] <= self._clock():
            return None
        return made_from(Grant, document, scopes=tuple(document["scopes"]))

    async def revoke(self, caller: Caller, token: str) -> None:
        """Forget the token if it is the caller's; otherwise nothing happens (RFC 7009 §2.2)."""
        token_digest = digest(token)
        grant = await self.find(token_digest)
        if grant is not None and grant.client_id == caller.client_id:
            await self._documents.delete_broker_token(token_digest)


def _named(scopes: Collection[str]) -> str:
    known = sorted(scope for scope in scopes if _SCOPE.fullmatch(scope))[:_NAMED_AT_MOST]
    return f": {' '.join(known)}" if known else ""

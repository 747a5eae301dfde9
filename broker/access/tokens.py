"""Broker tokens: opaque, 15 minutes long, hashed at rest."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock
from broker.errors import OAuthError
from broker.models.access import CLIENT_SCOPES, CONNECTION_SCOPES, Client, Reach
from broker.models.device import DeviceSession
from broker.models.ids import digest, new_secret
from broker.vault.device_sessions import StoredDeviceSessions
from broker.vault.documents import Documents
from broker.vault.stored import UNREADABLE, made_from

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
    connection_id: str | None = None
    """The one connection that a machine's token is bound to."""
    device_session: str = ""
    """The machine's, whose end is the token's."""
    provider: str = ""
    """The connection's."""
    subject: str = ""
    """Whose the connection is."""

    def reach(self, client: Client) -> Reach:
        """What the bearer can touch of what ``client`` can."""
        if self.connection_id is None:
            return client.reach
        providers = frozenset({self.provider}) if client.reach.covers_provider(self.provider) else frozenset()
        return Reach(client.tenant, providers, self.connection_id, client.allow)


class BrokerTokens:
    """Issues, finds and revokes broker tokens."""

    def __init__(self, documents: Documents, devices: StoredDeviceSessions, clock: Clock) -> None:
        self._documents = documents
        self._devices = devices
        self._clock = clock

    async def issue(self, client: Client, requested: Collection[str] | None) -> BrokerToken:
        """A token with the scopes that were asked for, or all the client has (``None``).

        :raises OAuthError: ``invalid_scope``; the client lacks one of them (RFC 6749 §5.2).
        """
        return await self._issue(client, scopes_for(requested, client.scopes), client.tokens_from)

    async def issue_to_device(
        self,
        client: Client,
        session: DeviceSession,
        *,
        scopes: tuple[str, ...],
        provider: str,
        subject: str,
    ) -> BrokerToken:
        """A token for a machine that is logged in: bound to its one connection, and over when its session is."""
        bound = {
            "connection_id": session.connection_id,
            "device_session": session.id,
            "provider": provider,
            "subject": subject,
        }
        return await self._issue(client, scopes, session.tokens_from, **bound)

    async def _issue(self, client: Client, scopes: tuple[str, ...], tokens_from: int, **bound: str) -> BrokerToken:
        token, now = new_secret("bat"), self._clock()
        document = {
            "client_id": client.client_id,
            "tenant": client.tenant,
            "scopes": scopes,
            "issued_at": now,
            "expires_at": now + LIFETIME * 1000,
            "tokens_from": tokens_from,
            **bound,
        }
        await self._documents.put_broker_token(digest(token), document, lifetime=LIFETIME * 1000)
        return BrokerToken(token, scopes)

    async def find(self, token_digest: str) -> Grant | None:
        """What the token stands for, or ``None`` if it is unknown, over, without a tenant, or damaged."""
        try:
            document = await self._documents.broker_token(token_digest)
            if document is None or not document.get("tenant") or document["expires_at"] <= self._clock():
                return None
            grant = made_from(Grant, document, scopes=tuple(document["scopes"]))
        except UNREADABLE:
            return None
        if grant.connection_id is not None and not await self._devices.lives(grant.connection_id, grant.device_session):
            return None
        return grant

    async def revoke(self, client_id: str, token: str) -> Grant | None:
        """Forget the token if it is the client's, and answer what it stood for; otherwise nothing happens
        (RFC 7009 §2.2)."""
        token_digest = digest(token)
        grant = await self.find(token_digest)
        if grant is None or grant.client_id != client_id:
            return None
        await self._documents.delete_broker_token(token_digest)
        return grant


def scopes_for(requested: Collection[str] | None, held: Collection[str]) -> tuple[str, ...]:
    """The client scopes that were asked for of those that are ``held``, or all of those (``None``).

    :raises OAuthError: ``invalid_scope``; one is asked for that is not held, or none is (RFC 6749 §5.2).
    """
    if requested is not None and not requested:
        raise OAuthError("invalid_scope", "scope names none")
    if requested is not None and (lacking := set(requested) - set(held)):
        reason = "the client lacks scopes that were asked for"
        raise OAuthError("invalid_scope", f"{reason}{_named(lacking)}", because=reason)
    wanted = held if requested is None else requested
    return tuple(scope for scope in CLIENT_SCOPES if scope in wanted)


def device_scopes(requested: Collection[str] | None, client: Client) -> tuple[str, ...]:
    """As :func:`scopes_for`, of the client's scopes that mean something for one connection.

    :raises OAuthError: ``invalid_scope``; or the client has no such scope at all.
    """
    held = [scope for scope in client.scopes if scope in CONNECTION_SCOPES]
    if not held:
        raise OAuthError("invalid_scope", "the client has no scope that means something for one connection")
    return scopes_for(requested, held)


def _named(scopes: Collection[str]) -> str:
    known = sorted(scope for scope in scopes if _SCOPE.fullmatch(scope))[:_NAMED_AT_MOST]
    return f": {' '.join(known)}" if known else ""

"""The tokens of machines that are logged in: a broker token bound to one connection, and a rotating refresh token.

Rotation (RFC 9700 §4.14.2) must survive what happens to programs: an answer that is lost, and two processes of one
machine that refresh at the same moment. So a refresh token that was just replaced is answered again, with the *same*
successor, until that successor is used, and for :data:`PREDECESSOR_ANSWERED` at most. Later, whoever brings it has a
copy, and the device session ends. The successor is not stored for that: it is made of its predecessor and a salt, so
only who brings the predecessor can be given it again, and a copy of the store holds neither.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import structlog

from broker.access.tokens import BrokerToken, BrokerTokens, scopes_for
from broker.clock import Clock
from broker.errors import OAuthError
from broker.models.access import Client
from broker.models.connection import Connection, Status
from broker.models.device import DeviceAuthorization, DeviceSession
from broker.models.event import Event
from broker.models.ids import digest, is_id, new_secret
from broker.observe import metrics
from broker.vault.device_sessions import StoredDeviceSessions
from broker.vault.records import Records

LIFETIME: Final = 90 * 86_400_000
"""How long a device session lives without being used, in milliseconds."""

PREDECESSOR_ANSWERED: Final = 60_000
"""How long a replaced refresh token is answered, in milliseconds, unless its successor was used."""

log = structlog.get_logger(__name__)

_PREFIX: Final = "brt"
_SECRET_LENGTH: Final = 43
_UNKNOWN: Final = "the refresh token is unknown, expired or revoked; log in again"


@dataclass(frozen=True, slots=True)
class RefreshTokenHandle:
    """A refresh token as the store knows it."""

    connection_id: str
    session_id: str
    family: str = field(repr=False)
    """What all refresh tokens of the device session begin with."""


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """What a machine is given; the only time that the refresh token is known in the clear."""

    token: BrokerToken
    refresh_token: str = field(repr=False)
    connection_id: str


def parse_refresh_token(token: str) -> RefreshTokenHandle | None:
    """Where a refresh token leads, or ``None`` if it is none by its shape."""
    parts = token.split("_")
    if len(parts) != 4 or parts[0] != _PREFIX or not is_id("con", f"con_{parts[1]}"):
        return None
    if not all(len(part) == _SECRET_LENGTH and part.isascii() and part.isalnum() for part in parts[2:]):
        return None
    return RefreshTokenHandle(f"con_{parts[1]}", _session_id(parts[2]), "_".join(parts[:3]))


class DeviceSessions:
    """Logs machines in, and keeps them logged in."""

    def __init__(self, stored: StoredDeviceSessions, tokens: BrokerTokens, records: Records, clock: Clock) -> None:
        self._stored = stored
        self._tokens = tokens
        self._records = records
        self._clock = clock

    async def start(self, client: Client, authorization: DeviceAuthorization, request_id: str | None) -> DeviceLogin:
        """Log a machine in, once its device code is spent.

        :raises OAuthError: ``access_denied``; the connection can't be used any more, or the client's tokens were ended
            since the machine asked.
        """
        connection = await self._records.read(authorization.connection_id)
        if connection is None or connection.tenant != client.tenant or not client.honours(authorization.tokens_from):
            raise OAuthError("access_denied", "the connection that was made for this login is gone")
        now, family = self._clock(), new_secret()
        refresh_token = f"{_PREFIX}_{connection.id.partition('_')[2]}_{family}_{new_secret()}"
        session = DeviceSession(
            id=_session_id(family),
            connection_id=connection.id,
            tenant=client.tenant,
            client_id=client.client_id,
            scopes=authorization.broker_scopes,
            created_at=now,
            expires_at=now + LIFETIME,
            last_used_at=now,
            device_name=authorization.device_name,
            address=authorization.address,
            tokens_from=authorization.tokens_from,
            handle_digest=authorization.handle_digest,
            token_digest=digest(refresh_token),
        )
        started = self._event("device.logged_in", connection, session, request_id, address=session.address)
        if await self._stored.start(session, started) != "ok":
            raise OAuthError("access_denied", "the connection that was made for this login is gone")
        metrics.device_logins.labels(connection.provider, "collected").inc()
        token = await self._issue(client, session, session.scopes, connection)
        return DeviceLogin(token, refresh_token, connection.id)

    async def refresh(
        self, client: Client, refresh_token: str, requested: Collection[str] | None, request_id: str | None
    ) -> DeviceLogin:
        """New tokens for a machine that is logged in (RFC 6749 §6).

        :param requested: client scopes; fewer than at the login are granted for this one broker token.
        :raises OAuthError: ``invalid_grant``: unknown, over, another client's, or used before: then the device session
            has ended. ``invalid_scope``.
        """
        handle = parse_refresh_token(refresh_token)
        session = await self._stored.read(handle.connection_id, handle.session_id) if handle else None
        connection = await self._records.read(handle.connection_id) if handle else None
        if handle is None or session is None or connection is None or session.client_id != client.client_id:
            raise OAuthError("invalid_grant", _UNKNOWN)
        if connection.status is Status.REVOKED or not client.honours(session.tokens_from):
            raise OAuthError("invalid_grant", _UNKNOWN)
        # Before the token is used up: a scope that is mistyped must not cost it.
        scopes = scopes_for(requested, [scope for scope in session.scopes if scope in client.scopes])
        now, salt = self._clock(), new_secret()
        rotated = await self._stored.rotate(
            handle.connection_id,
            handle.session_id,
            now=now,
            client_id=client.client_id,
            presented=digest(refresh_token),
            successor=digest(_successor(handle, refresh_token, salt)),
            salt=salt,
            answered_for=PREDECESSOR_ANSWERED,
            expires_at=now + LIFETIME,
            ended=self._event("device.refresh_token_reused", connection, session, request_id),
        )
        if rotated.outcome == "reused":
            # Somebody has a copy of it, or restored one: whichever, an operator wants to know.
            metrics.device_logins.labels(connection.provider, "reused").inc()
            log.warning("device.refresh_token_reused", connection_id=connection.id, device_session=session.id)
        if rotated.session is None or rotated.outcome == "reused":
            raise OAuthError("invalid_grant", _UNKNOWN, because=rotated.outcome)
        token = await self._issue(client, rotated.session, scopes, connection)
        return DeviceLogin(token, _successor(handle, refresh_token, rotated.salt), connection.id)

    async def current(self, client: Client, refresh_token: str) -> DeviceSession | None:
        """The device session whose present refresh token this is, if it is the client's."""
        handle = parse_refresh_token(refresh_token)
        session = await self._stored.read(handle.connection_id, handle.session_id) if handle else None
        if session is None or session.client_id != client.client_id or session.expires_at <= self._clock():
            return None
        return (
            session if session.token_digest == digest(refresh_token) and client.honours(session.tokens_from) else None
        )

    async def revoke(self, client_id: str, refresh_token: str, request_id: str | None) -> bool:
        """Log the machine out whose refresh token this is, or was, if it is the client's; else nothing happens
        (``False``)."""
        handle = parse_refresh_token(refresh_token)
        return handle is not None and await self.end(
            handle.connection_id, handle.session_id, client_id=client_id, request_id=request_id
        )

    async def end(self, connection_id: str, session_id: str, *, client_id: str, request_id: str | None) -> bool:
        """Log a machine out, if it is the client's; else nothing happens (``False``)."""
        session = await self._stored.read(connection_id, session_id)
        connection = await self._records.read(connection_id)
        if session is None or connection is None or session.client_id != client_id:
            return False
        return await self._stored.end(session, self._event("device.logged_out", connection, session, request_id))

    async def _issue(
        self, client: Client, session: DeviceSession, scopes: tuple[str, ...], connection: Connection
    ) -> BrokerToken:
        return await self._tokens.issue_to_device(
            client, session, scopes=scopes, provider=connection.provider, subject=connection.subject
        )

    def _event(
        self, event_type: str, connection: Connection, session: DeviceSession, request_id: str | None, **data: object
    ) -> Event:
        named = {"device_session": session.id, "device_name": session.device_name, **data}
        return Event.about(
            event_type, connection, at=self._clock(), client_id=session.client_id, request_id=request_id, **named
        )


def _session_id(family: str) -> str:
    return f"ds_{digest(family)[:32]}"


def _successor(handle: RefreshTokenHandle, token: str, salt: str) -> str:
    """The refresh token that follows ``token``: nobody can tell it who lacks the token itself."""
    drawn = hmac.digest(token.encode(), salt.encode(), hashlib.sha256)
    # The alphabet of ids has no two characters beyond letters and digits; these two stand for a letter each.
    secret = urlsafe_b64encode(drawn).decode().rstrip("=").replace("-", "x").replace("_", "y")
    return f"{handle.family}_{secret}"

"""Device sessions at rest: one hash beside each connection that machines log in with, so that it ends with it.

A refresh token ``brt_<connection>_<family>_<secret>`` says where its session lies and, by the family's own secret,
which one it is: the session's id is made of that secret's digest. So whoever names a session by a token has held one of
its tokens; if it isn't the current one, somebody has a copy. Made-up tokens name no session and end none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from broker.models.device import DeviceSession
from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.redis.store import Argument, Store, run_or_repeat
from broker.vault.stored import made_from

_OWNS: Final = "owns"
"""Marks a connection that is there for logins alone."""
_ROTATION: Final = ("current", "previous", "salt", "rotated_at")
"""What only the script looks at."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of a refresh token. ``again``: it was used a moment ago, and answers the successor of ``salt``."""

    outcome: Literal["unknown", "reused", "rotated", "again"]
    session: DeviceSession | None = None
    salt: str = ""


class StoredDeviceSessions:
    """Starts, rotates, lists and ends device sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def expect(self, connection_id: str, *, until: int) -> None:
        """A connection will be made for logins alone; if no machine has collected one by ``until`` (ms), it ends."""
        await self._store.execute("HSET", names.device_sessions(connection_id), _OWNS, 1)
        await self._store.execute("ZADD", names.due(connection_id), until, f"abandon:{connection_id}")

    async def start(self, session: DeviceSession, event: Event) -> str:
        """Log a machine in.

        Answers ``ok``, ``absent``, or the status of a connection that is not active.
        """
        document = {**_document(session), "current": session.token_digest, "previous": "", "salt": "", "rotated_at": 0}
        keys = [
            names.record(session.connection_id),
            names.device_sessions(session.connection_id),
            names.outbox(session.connection_id),
            names.due(session.connection_id),
        ]
        arguments: list[Argument] = [
            session.tenant,
            session.id,
            json.dumps(document),
            session.expires_at,
            event.encode(),
            session.connection_id,
        ]
        # The device code is spent for it; the same session again changes nothing.
        reply = await run_or_repeat(self._store, scripts.DEVICE_LOGIN, keys, arguments)
        return str(reply.decode())

    async def rotate(
        self,
        connection_id: str,
        session_id: str,
        *,
        now: int,
        client_id: str,
        presented: str,
        successor: str,
        salt: str,
        answered_for: int,
        expires_at: int,
        ended: Event,
    ) -> Rotated:
        """Use a refresh token (``presented`` and ``successor`` are digests); see ``device_refresh.lua``.

        :param answered_for: milliseconds that a predecessor is answered, unless its successor was used.
        :param ended: the event, should this be the session's end.
        """
        keys = [
            names.record(connection_id),
            names.device_sessions(connection_id),
            names.outbox(connection_id),
            names.due(connection_id),
        ]
        arguments: list[Argument] = [
            now,
            client_id,
            session_id,
            presented,
            successor,
            salt,
            answered_for,
            expires_at,
            ended.encode(),
            connection_id,
        ]
        # Should it be used already, a repeat is what two programs at once look like: the successor is the same one.
        reply = await run_or_repeat(self._store, scripts.DEVICE_REFRESH, keys, arguments)
        outcome: Any = reply[0].decode()
        if outcome == "unknown":
            return Rotated(outcome)
        session = _session(connection_id, session_id, reply[1])
        return Rotated(outcome, session, reply[2].decode() if outcome == "again" else salt)

    async def lives(self, connection_id: str, session_id: str) -> bool:
        """Whether the machine is still logged in."""
        return bool(await self._store.execute("HEXISTS", names.device_sessions(connection_id), session_id))

    async def read(self, connection_id: str, session_id: str) -> DeviceSession | None:
        """The device session, or ``None``."""
        stored = await self._store.execute("HGET", names.device_sessions(connection_id), session_id)
        return _session(connection_id, session_id, stored) if stored else None

    async def of(self, connection_id: str) -> "list[DeviceSession]":
        """The connection's device sessions, newest first; also those whose time is over and that nobody ended yet."""
        stored: Mapping[bytes, bytes] = await self._hash(connection_id)
        found = [
            _session(connection_id, name.decode(), document)
            for name, document in stored.items()
            if name.decode() != _OWNS
        ]
        return sorted(found, key=lambda session: session.created_at, reverse=True)

    async def owned(self, connection_id: str) -> bool:
        """Whether the connection is there for logins alone."""
        return bool(await self._store.execute("HEXISTS", names.device_sessions(connection_id), _OWNS))

    async def end(self, session: DeviceSession, event: Event) -> bool:
        """Log the machine out; ``False`` if it was already."""
        keys = [
            names.device_sessions(session.connection_id),
            names.outbox(session.connection_id),
            names.due(session.connection_id),
        ]
        arguments: list[Argument] = [session.id, event.encode(), session.connection_id, event.at]
        return bool(await self._store.run(scripts.DEVICE_END, keys, arguments))

    async def forget(self, connection_id: str) -> None:
        """There is no such connection: nothing of logins stays behind."""
        await self._store.execute("DEL", names.device_sessions(connection_id))

    async def _hash(self, connection_id: str) -> Mapping[bytes, bytes]:
        reply = await self._store.execute("HGETALL", names.device_sessions(connection_id))
        return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _document(session: DeviceSession) -> dict[str, Any]:
    return {
        "tenant": session.tenant,
        "client_id": session.client_id,
        # Text and no list: an empty list would come back from the script as an object.
        "scopes": " ".join(session.scopes),
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "last_used_at": session.last_used_at,
        "device_name": session.device_name,
        "address": session.address,
        "tokens_from": session.tokens_from,
        "handle_digest": session.handle_digest,
    }


def _session(connection_id: str, session_id: str, stored: bytes) -> DeviceSession:
    document = json.loads(stored)
    numbers = {name: int(document[name]) for name in ("created_at", "expires_at", "last_used_at", "tokens_from")}
    return made_from(
        DeviceSession,
        {name: value for name, value in document.items() if name not in _ROTATION},
        id=session_id,
        connection_id=connection_id,
        scopes=tuple(document["scopes"].split()),
        token_digest=document["current"],
        **numbers,
    )

"""Connect sessions at rest: one hash each, gone by itself some time after the session ended."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.vault import names, scripts
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.store import Argument, Store
from broker.vault.stepping import step
from broker.vault.stored import made_from

KEPT_AFTER_END: Final = 3_600_000
"""How long an ended session can still be read, in milliseconds."""

_STEPPED: Final = (
    "status",
    "expires_at",
    "connection_id",
    "browser_digest",
    "state_digest",
    "expected_issuer",
    "issuer_required",
    "wrong_codes",
    "error",
    "error_detail",
)
_SEALED: Final = ("verifier", "code", "completion_code")


class Sessions:
    """Reads and steps of connect sessions."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def create(self, session: ConnectSession) -> None:
        """Store a new session until an hour after it expires."""
        await self._store.run(
            scripts.SESSION_CREATE,
            [names.session(session.id)],
            [
                session.expires_at + KEPT_AFTER_END,
                *("fixed", _fixed_json(session)),
                *("status", session.status),
                *("expires_at", session.expires_at),
                *("connection_id", session.connection_id or ""),
            ],
        )

    async def read(self, session_id: str) -> ConnectSession | None:
        """The session without its sealed parts, or ``None``."""
        reply = await self._store.execute("HMGET", names.session(session_id), "fixed", *_STEPPED)
        if reply[0] is None or reply[1] is None:
            return None
        fixed = json.loads(reply[0])
        stepped = {name: (value or b"").decode() for name, value in zip(_STEPPED, reply[1:], strict=True)}
        return made_from(
            ConnectSession,
            fixed,
            scopes=tuple(fixed["scopes"]),
            completion=Completion(fixed["completion"]),
            id=session_id,
            status=SessionStatus(stepped["status"]),
            expires_at=int(stepped["expires_at"]),
            connection_id=stepped["connection_id"] or None,
            browser_digest=stepped["browser_digest"],
            state_digest=stepped["state_digest"],
            expected_issuer=stepped["expected_issuer"],
            issuer_required=stepped["issuer_required"] == "1",
            wrong_codes=int(stepped["wrong_codes"] or 0),
            error=stepped["error"] or None,
            error_detail=stepped["error_detail"] or None,
        )

    async def step(
        self,
        session: ConnectSession,
        *,
        now: int,
        among: Collection[SessionStatus],
        change: Mapping[str, Argument],
        where: Mapping[str, str] | None = None,
        keep: int | None = None,
        attempt: str = "",
    ) -> bool:
        """Change fields if the session stands ``among`` these statuses, in time, and ``where`` holds.

        One atomic step, so of many callers with the same step exactly one is answered ``True``.

        :param keep: milliseconds from now after which the session disappears.
        :param attempt: names this very step, for callers who repeat it beyond the one time that it is repeated here.
        """
        return await step(
            self._store,
            names.session(session.id),
            now=now,
            among=among,
            change=change,
            where=where,
            keep=keep,
            attempt=attempt,
        )

    def seal(self, session: ConnectSession, field: str, secret: str) -> bytes:
        """Seal the session's ``verifier``, ``code`` or ``completion_code`` for :meth:`step` to store."""
        return self._keyring.seal(_place(session, field), secret.encode())

    async def open(self, session: ConnectSession) -> Mapping[str, str]:
        """The session's sealed ``verifier``, ``code`` and ``completion_code``, as far as they are there.

        :raises SealBroken: one of them does not open.
        """
        reply = await self._store.execute("HMGET", names.session(session.id), *_SEALED)
        return {
            field: self._keyring.open(_place(session, field), sealed).decode()
            for field, sealed in zip(_SEALED, reply, strict=True)
            if sealed
        }


def _place(session: ConnectSession, field: str) -> Place:
    return Place(session.tenant, session.id, grant="", field=field, generation=0)


def _fixed_json(session: ConnectSession) -> str:
    fixed: dict[str, Any] = {
        "tenant": session.tenant,
        "client_id": session.client_id,
        "client_name": session.client_name,
        "provider": session.provider,
        "subject": session.subject,
        "completion": session.completion,
        "scopes": session.scopes,
        "created_at": session.created_at,
        "handle_digest": session.handle_digest,
        "subject_name": session.subject_name,
        "parameters": dict(session.parameters),
        "return_url": session.return_url,
        "state": session.state,
        "reconnect": session.reconnect,
        "allow_account_change": session.allow_account_change,
        "label": session.label,
        "metadata": dict(session.metadata),
        "device_authorization": session.device_authorization,
    }
    return json.dumps(fixed)

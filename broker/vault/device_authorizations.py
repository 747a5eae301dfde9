"""Device authorizations at rest: a hash each, gone by itself soon after its end; our own user codes lead to theirs."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from broker.models.device import DeviceAuthorization, DeviceMode, DeviceStatus
from broker.models.ids import new_id
from broker.vault import names, scripts
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.store import Argument, Store, run_or_repeat
from broker.vault.stepping import step
from broker.vault.stored import made_from

KEPT_AFTER_END: Final = 600_000
"""How long one that is over can still say so, in milliseconds."""

_EARLY_BY: Final = 500
"""Milliseconds that a poll may come before its interval is over: replicas' clocks differ a little."""
_STEPPED: Final = (
    "status",
    "expires_at",
    "connection_id",
    "session_id",
    "interval",
    "redeeming_until",
    "handle_digest",
    "reason",
)
_UPSTREAM: Final = "upstream"

Verdict = Literal["unknown", "spent", "expired", "denied", "approved", "slow_down", "pending", "ask"]


@dataclass(frozen=True, slots=True)
class Poll:
    """What a machine's question came to; ``ask``: it is this caller's turn to ask the provider."""

    verdict: Verdict
    interval: int = 0
    """Seconds to leave between polls from now on."""


class StoredDeviceAuthorizations:
    """Reads and steps of device authorizations."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def create(
        self, authorization: DeviceAuthorization, *, provider_code: str = "", ask_every: int = 0, ask_takes: int = 0
    ) -> bool:
        """Store a new one; ``False``: its user code leads to another one already.

        :param provider_code: the provider's own device code (native).
        :param ask_every: seconds between two questions to the provider (native).
        :param ask_takes: seconds that such a question may take, with all that is stored of a yes; then who asked is
            dead (native).
        """
        key, keep = names.device_authorization(authorization.id), authorization.expires_at + KEPT_AFTER_END
        if authorization.user_code:
            # Reserved first: two machines must never show the same code.
            code = names.user_code(authorization.user_code)
            if not await self._store.execute("SET", code, authorization.id, "NX", "PXAT", authorization.expires_at):
                return False
        fields: dict[str, Argument] = {
            "fixed": _fixed_json(authorization),
            "status": authorization.status,
            "expires_at": authorization.expires_at,
            "connection_id": authorization.connection_id,
            "client": authorization.client_id,
            "device_code": authorization.device_code_digest,
            "interval": authorization.interval,
        }
        if provider_code:
            fields |= {
                _UPSTREAM: self._keyring.seal(_place(authorization.tenant, authorization.id), provider_code.encode()),
                "ask_at": authorization.created_at + ask_every * 1000,
                "ask_every": ask_every,
                "ask_takes": ask_takes,
            }
        # One script, though it was written for sessions: a hash is set, with its end.
        arguments = [keep, *(part for pair in fields.items() for part in pair)]
        await self._store.run(scripts.SESSION_CREATE, [key], arguments)
        return True

    async def read(self, authorization_id: str) -> DeviceAuthorization | None:
        """The device authorization with this id, or ``None``."""
        key = names.device_authorization(authorization_id)
        reply = await self._store.execute("HMGET", key, "fixed", *_STEPPED)
        if reply[0] is None or reply[1] is None:
            return None
        fixed = json.loads(reply[0])
        stepped = {name: (value or b"").decode() for name, value in zip(_STEPPED, reply[1:], strict=True)}
        return made_from(
            DeviceAuthorization,
            fixed,
            id=authorization_id,
            mode=DeviceMode(fixed["mode"]),
            scopes=tuple(fixed["scopes"]),
            broker_scopes=tuple(fixed["broker_scopes"]),
            status=DeviceStatus(stepped["status"]),
            expires_at=int(stepped["expires_at"]),
            connection_id=stepped["connection_id"],
            session_id=stepped["session_id"],
            redeeming_until=int(stepped["redeeming_until"] or 0),
            interval=int(stepped["interval"]),
            handle_digest=stepped["handle_digest"],
            reason=stepped["reason"],
        )

    async def by_user_code(self, code: str) -> DeviceAuthorization | None:
        """The one that a user code of ours (eight letters, no hyphen) leads to, or ``None``."""
        found = await self._store.execute("GET", names.user_code(code))
        return await self.read(found.decode()) if found else None

    async def poll(self, authorization_id: str, *, now: int, client_id: str, device_code_digest: str) -> Poll:
        """Judge one question of a machine, in one step; see ``device_poll.lua``."""
        arguments: list[Argument] = [now, client_id, device_code_digest, _EARLY_BY, new_id("poll")]
        key = names.device_authorization(authorization_id)
        # The code may be spent by this, and the answer lost: asked again by its name, it is the same poll.
        reply = await run_or_repeat(self._store, scripts.DEVICE_POLL, [key], arguments)
        return Poll(reply[0].decode(), int(reply[1]) if len(reply) > 1 else 0)

    async def step(
        self,
        authorization: DeviceAuthorization,
        *,
        now: int,
        among: Collection[DeviceStatus],
        change: Mapping[str, Argument],
        where: Mapping[str, str] | None = None,
        attempt: str = "",
    ) -> bool:
        """Change fields if it stands ``among`` these statuses, in time, and ``where`` holds; one atomic step.

        :param attempt: names this very step, for callers who repeat it.
        """
        key = names.device_authorization(authorization.id)
        return await step(self._store, key, now=now, among=among, change=change, where=where, attempt=attempt)

    async def provider_code(self, authorization: DeviceAuthorization) -> tuple[str, int]:
        """The provider's own device code, and the seconds that it wants between two questions.

        :raises SealBroken: it doesn't open.
        """
        key = names.device_authorization(authorization.id)
        sealed, ask_every = await self._store.execute("HMGET", key, _UPSTREAM, "ask_every")
        return self._keyring.open(_place(authorization.tenant, authorization.id), sealed).decode(), int(ask_every)

    async def forget_user_code(self, authorization: DeviceAuthorization) -> None:
        """The code has served."""
        await self._store.execute("DEL", names.user_code(authorization.user_code))


def _place(tenant: str, authorization_id: str) -> Place:
    return Place(tenant, authorization_id, grant="", field=_UPSTREAM, generation=0)


def _fixed_json(authorization: DeviceAuthorization) -> str:
    fixed: dict[str, Any] = asdict(authorization)
    for name in ("id", *_STEPPED):
        del fixed[name]
    fixed["parameters"] = dict(authorization.parameters)
    return json.dumps(fixed)

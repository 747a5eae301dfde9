"""What a person typed into the form of a connect session: sealed, and gone by itself within minutes.

A key of its own and not a field of the session: an ended or expired session can be read for another hour, but what was
typed is no code that dies by itself within minutes; it may be somebody's password.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.errors import SealBroken
from broker.models.session import ConnectSession
from broker.vault import names
from broker.vault.keyring import Keyring, Place
from broker.vault.redis.store import Store


@dataclass(frozen=True, slots=True)
class Typed:
    """A credential as a person typed it, and what they said about their connection besides."""

    credentials: Mapping[str, str] = field(repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict)


class StoredTyped:
    """Keeps it from the form to the completion."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def keep(self, session: ConnectSession, typed: Typed, *, milliseconds: int) -> None:
        """Keep it for so long at most."""
        content = json.dumps({"credentials": dict(typed.credentials), "parameters": dict(typed.parameters)})
        header = json.dumps({"tenant": session.tenant, "grant": "", "generation": 0}).encode()
        sealed = self._keyring.seal(_place(session), content.encode())
        await self._store.execute("SET", names.typed(session.id), header + b"\n" + sealed, "PX", milliseconds)

    async def read(self, session: ConnectSession) -> Typed | None:
        """What was typed, or ``None``: nothing, or its time is over.

        :raises SealBroken: it does not open.
        """
        stored = await self._store.execute("GET", names.typed(session.id))
        if stored is None:
            return None
        content = json.loads(self._keyring.open(_place(session), stored.partition(b"\n")[2]))
        try:
            return Typed(content["credentials"], content["parameters"])
        except (KeyError, TypeError):
            raise SealBroken(f"what was typed for {session.id} is damaged") from None

    async def erase(self, session: ConnectSession) -> None:
        """Let nothing be left of it."""
        await self._store.execute("DEL", names.typed(session.id))


def _place(session: ConnectSession) -> Place:
    return Place(session.tenant, session.id, grant="", field="typed", generation=0)

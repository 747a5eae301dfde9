"""Small JSON documents: clients and broker tokens. Written whole, read whole, gone when their time is over."""

import json
from collections.abc import Mapping
from typing import Any

from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.redis.store import Argument, Store

Document = Mapping[str, Any]


class Documents:
    """Reads and writes of documents by the digest or id of what they describe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def client(self, client_id: str) -> bytes | None:
        """The client's document as it stands there, or ``None``."""
        text: bytes | None = await self._store.execute("GET", names.client(client_id))
        return text

    async def put_client(self, client_id: str, document: Document, event: Event) -> None:
        """Store a client's document, list it, and write ``event`` down."""
        # First: one that is listed and not there is passed over, one that is there must be seen.
        await self._store.execute("SADD", names.CLIENTS, client_id)
        await self._write(client_id, b"", document, event)
        # And last: it may stand under an id that was just being deleted.
        await self._store.execute("SADD", names.CLIENTS, client_id)

    async def replace_client(self, client_id: str, before: bytes, document: Document, event: Event) -> bool:
        """Store another document in place of ``before`` and write ``event`` down; ``False`` if ``before`` does not
        stand there any more, and nothing was done."""
        return await self._write(client_id, before, document, event)

    async def delete_client(self, client_id: str, event: Event | None) -> bool:
        """Remove a client and write ``event`` down; ``False`` if there was none, and nothing to tell."""
        arguments: list[Argument] = ["" if event is None else event.encode()]
        removed = await self._store.run(scripts.CLIENT_DELETE, _with_outbox(client_id), arguments)
        await self._store.execute("SREM", names.CLIENTS, client_id)
        if await self.client(client_id) is not None:
            # Somebody has registered it again meanwhile.
            await self._store.execute("SADD", names.CLIENTS, client_id)
        return bool(removed)

    async def clients(self) -> list[str]:
        """The ids of all clients, sorted."""
        return sorted(member.decode() for member in await self._store.execute("SMEMBERS", names.CLIENTS))

    async def broker_token(self, digest: str) -> Document | None:
        """What the broker token with this digest stands for, or ``None``."""
        return _decoded(await self._store.execute("GET", names.broker_token(digest)))

    async def put_broker_token(self, digest: str, document: Document, *, lifetime: int) -> None:
        """Store a broker token for ``lifetime`` milliseconds."""
        await self._store.execute("SET", names.broker_token(digest), json.dumps(document), "PX", lifetime)

    async def delete_broker_token(self, digest: str) -> None:
        """Forget a broker token."""
        await self._store.execute("DEL", names.broker_token(digest))

    async def _write(self, client_id: str, before: bytes, document: Document, event: Event) -> bool:
        arguments: list[Argument] = [before, json.dumps(document), event.encode()]
        return bool(await self._store.run(scripts.CLIENT_WRITE, _with_outbox(client_id), arguments))


def _with_outbox(client_id: str) -> list[str]:
    return [names.client(client_id), names.outbox(client_id)]


def _decoded(reply: bytes | None) -> Document | None:
    if reply is None:
        return None
    document: Document = json.loads(reply)
    return document

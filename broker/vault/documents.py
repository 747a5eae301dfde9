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

    async def put_client(self, client_id: str, document: Document) -> None:
        """Store a client's document and list it."""
        await self._store.execute("SET", names.client(client_id), json.dumps(document))
        await self._store.execute("SADD", names.CLIENTS, client_id)

    async def replace_client(self, client_id: str, before: bytes, document: Document) -> bool:
        """Store another document in place of ``before``; ``False`` if that does not stand there any more."""
        arguments: list[Argument] = [before, json.dumps(document)]
        return bool(await self._store.run(scripts.CLIENT_REPLACE, [names.client(client_id)], arguments))

    async def record(self, client_id: str, event: Event) -> None:
        """Write an event about a client into an outbox, from where it reaches the journal as all others do."""
        await self._store.execute("XADD", names.outbox(client_id), "*", "e", event.encode())

    async def delete_client(self, client_id: str) -> bool:
        """Remove a client; ``False`` if there was none."""
        removed = await self._store.execute("DEL", names.client(client_id))
        await self._store.execute("SREM", names.CLIENTS, client_id)
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


def _decoded(reply: bytes | None) -> Document | None:
    if reply is None:
        return None
    document: Document = json.loads(reply)
    return document

"""References at rest: a hash each beside their connection, under the digest of the secret, gone at their end."""

from collections.abc import Mapping, Sequence

from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.redis.store import Store


class StoredReferences:
    """Issues, shows and revokes references; spending one is a part of the release."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def issue(
        self,
        connection_id: str,
        digest: str,
        *,
        audience: str,
        uses: int,
        ends_at: int,
        event: Event,
        required_scopes: Sequence[str] = (),
    ) -> str:
        """Store a reference for ``audience`` until ``ends_at`` (ms), issued by the event's client.

        :param required_scopes: provider scopes without which it releases nothing.

        Answers ``ok``, ``absent``, or the status of a connection that is not active.
        """
        reply = await self._store.run(
            scripts.REFERENCE_ISSUE,
            [
                names.record(connection_id),
                names.reference(connection_id, digest),
                names.outbox(connection_id),
            ],
            [
                event.tenant,
                audience,
                event.client_id or "",
                uses,
                ends_at,
                event.encode(),
                " ".join(required_scopes),
            ],
        )
        return str(reply.decode())

    async def read(self, connection_id: str, digest: str) -> Mapping[str, str] | None:
        """``audience``, ``issuer``, ``left`` (uses) and ``ends_at`` (ms) of a reference, or ``None``.

        A reference to a connection that is not active, or nobody's, opens nothing and is not shown.
        """
        reply = await self._store.execute("HMGET", names.reference(connection_id, digest), "aud", "iss", "left", "exp")
        tenant, status = await self._store.execute("HMGET", names.record(connection_id), "t", "st")
        if reply[0] is None or reply[2] == b"0" or not tenant or status != b"active":
            return None
        return dict(zip(("audience", "issuer", "left", "ends_at"), (part.decode() for part in reply), strict=True))

    async def revoke(self, connection_id: str, digest: str, event: Event) -> bool:
        """Remove a reference if the event's client issued it or is its audience."""
        reply = await self._store.run(
            scripts.REFERENCE_REVOKE,
            [names.reference(connection_id, digest), names.outbox(connection_id), names.record(connection_id)],
            [event.client_id or "", event.encode()[:-1]],
        )
        return bool(reply)

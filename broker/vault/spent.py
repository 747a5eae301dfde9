"""Identifiers that work once: whoever spends one first has it, on whichever replica."""

from broker.vault import names
from broker.vault.redis.store import Store


class SpentIds:
    """Remembers identifiers until they would be refused anyhow."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def spend(self, owner: str, identifier: str, *, lifetime: int) -> bool:
        """Spend ``owner``'s ``identifier`` for ``lifetime`` ms; ``False`` if it was spent before.

        A lost answer leaves it spent: the store is not asked a second time, and the caller is refused.
        """
        reply = await self._store.execute("SET", names.spent(owner, identifier), 1, "NX", "PX", lifetime)
        return reply is not None

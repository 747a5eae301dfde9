"""Which connections may live from one grant: those of one account at one OAuth app, whichever tenant's they are."""

from broker.models.connection import Connection, Minted
from broker.vault import names
from broker.vault.redis.store import Store


def account_index(connection: Connection) -> str:
    """The set in which the connection stands: its account's, or that of accounts nobody knows."""
    account_id = connection.account.id if connection.account else ""
    return names.account_index(connection.minted.issuer, connection.minted.client_id, account_id)


class Siblings:
    """Finds connections that share a grant, and knows of those that are just being made."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def sharing(self, connection: Connection) -> list[str]:
        """The ids of connections that may stand for the same account and app, or for one that nobody knows."""
        unknown = names.account_index(connection.minted.issuer, connection.minted.client_id, "")
        keys = dict.fromkeys((account_index(connection), unknown))
        return [member.decode() for key in keys for member in await self._store.execute("SMEMBERS", key)]

    async def leave(self, connection: Connection) -> None:
        """Take the connection off its account's list."""
        await self._store.execute("SREM", account_index(connection), connection.id)

    async def expect(self, minted: Minted, session_id: str, *, now: int, until: int) -> None:
        """Say that a code of this app is being redeemed, until ``until`` (ms); whose account, nobody knows yet."""
        key = names.exchanges(minted.issuer, minted.client_id)
        # Who died in the middle says nothing: at an app that is busy for ever, those would stay for ever.
        await self._store.execute("ZREMRANGEBYSCORE", key, "-inf", f"({now}")
        await self._store.execute("ZADD", key, until, session_id)
        # Each for a case of its own: NX where there is no end yet, GT where there is an earlier one. A later one stays.
        for where in ("NX", "GT"):
            await self._store.execute("PEXPIREAT", key, until, where)

    async def arrived(self, minted: Minted, session_id: str) -> None:
        """The exchange is over, and what it made is listed."""
        await self._store.execute("ZREM", names.exchanges(minted.issuer, minted.client_id), session_id)

    async def expecting(self, minted: Minted, *, now: int) -> bool:
        """Whether a connection of this app is being made at ``now`` (ms)."""
        key = names.exchanges(minted.issuer, minted.client_id)
        return bool(await self._store.execute("ZCOUNT", key, now, "+inf"))

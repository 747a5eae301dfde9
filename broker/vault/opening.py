"""Opening the store: nothing is read or written before the store is fit and the keyring is the one it knows."""

from redis.asyncio.connection import AbstractConnection

from broker.errors import ConfigurationError, StoreUnavailable
from broker.vault import names, scripts
from broker.vault.keyring import Keyring
from broker.vault.redis.connecting import Connect, connector
from broker.vault.redis.fitness import parse_info, reasons_against
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.store import Store


def open_store(url: str, keyring: Keyring, *, wait_replicas: int, deadline: float = 2.0) -> Store:
    """The store at ``url``. Connects when it is first used, and again whenever it has to.

    Every new connection is examined before it carries a command, so a store that was swapped for another, or a ring
    that lacks a key, answers every command with :class:`StoreUnavailable` and the reason, and is not written to.
    """
    connect = connector(url, connect_timeout=deadline)

    async def connect_examined() -> AbstractConnection:
        connection = await connect()
        try:
            await _examine(connection, wait_replicas)
            await _adopt(connection, keyring)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    examined: Connect = connect_examined
    return Pipeline(examined, deadline=deadline)


async def reasons_not_ready(store: Store, *, wait_replicas: int) -> list[str]:
    """Why the store can't be used now; empty = ready."""
    try:
        info = parse_info(await store.execute("INFO"))
    except StoreUnavailable as error:
        return [error.detail]
    return list(reasons_against(info, wait_replicas=wait_replicas))


async def _examine(connection: AbstractConnection, wait_replicas: int) -> None:
    await connection.send_command("INFO")
    reasons = reasons_against(parse_info(await connection.read_response()), wait_replicas=wait_replicas)
    if reasons:
        raise StoreUnavailable("; ".join(reasons), retry_after=5)


async def _adopt(connection: AbstractConnection, keyring: Keyring) -> None:
    """Compare the ring with the keys that the store was written with, and learn which key writes."""
    for key in (names.KEYRING, names.CLIENTS):
        await connection.send_command("EXISTS", key)
    known, used = [await connection.read_response() for _ in range(2)]
    if used and not known:
        # Any ring would be taken for the first one.
        raise StoreUnavailable(f"the store has clients, but what it knew of its keys is gone; restore {names.KEYRING}")
    fingerprints = [part for pair in keyring.fingerprints().items() for part in pair]
    await connection.send_command("EVALSHA", scripts.KEYRING_ADOPT.sha, 1, names.KEYRING, keyring.writer, *fingerprints)
    verdict, kid = (part.decode() for part in await connection.read_response())
    if verdict == "missing":
        raise StoreUnavailable(f"the store holds secrets sealed with key {kid!r}, which is not in the keyring")
    if verdict == "different":
        raise StoreUnavailable(f"the keyring's key {kid!r} is not the key the store knows under that id")
    try:
        keyring.write_with(kid)
    except ConfigurationError as error:
        raise StoreUnavailable(error.detail) from None

"""Opening the store: nothing is read or written before the store is fit and the keyring is the one it knows.

Every new connection is examined before it carries a command, so a store that was swapped for another, or a ring that
lacks a key, answers every command with :class:`StoreUnavailable` and the reason, and is not written to. In a Cluster
one node has what the store knows of its keys: the others' connections have that node asked first. Only a node that was
opened before goes on without it, so that its loss doesn't take the others along.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError

from broker.errors import ConfigurationError, StoreUnavailable
from broker.settings.store_address import Node, StoreAddress, parse_store_address
from broker.vault import names, scripts
from broker.vault.keyring import Keyring
from broker.vault.redis.cluster import ClusterStore, slot_of, slot_of_command
from broker.vault.redis.connecting import Connect, asker, connector, conversation
from broker.vault.redis.fitness import parse_info, reasons_against
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.refusals import FAILOVER_SECONDS
from broker.vault.redis.sentinel import Sentinels, SentinelStore
from broker.vault.redis.store import Argument, Reply, Store

_ASKED_WITHIN = 0.25
"""Part of the deadline that sentinels and nodes of a Cluster have to say where to go."""
_PRIMARY_CHECKED_EVERY = 3.0

_Ask = Callable[..., Awaitable[Reply]]
"""Sends one command to where its key is, and answers the reply."""


def open_store(url: str, keyring: Keyring, *, wait_replicas: int, deadline: float = 2.0) -> Store:
    """The store at ``url``. Connects when it is first used, and again whenever it has to.

    :param wait_replicas: how many replicas must hold a commit for it to be confirmed.
    :param deadline: seconds after which an answer is no longer waited for.
    :raises ConfigurationError: the URL can't be used.
    """
    try:
        address = parse_store_address(url)
    except ValueError as error:
        raise ConfigurationError([f"BROKER_REDIS_URL: {error}"]) from None
    if address.kind == "cluster":
        return _ClusterOpening(address, keyring, deadline).store(wait_replicas)
    if address.kind == "sentinel":
        sentinels = Sentinels(
            address,
            connect_timeout=deadline,
            ask_within=deadline * _ASKED_WITHIN,
            checked_every=_PRIMARY_CHECKED_EVERY,
        )
        examined = partial(_connect_examined, sentinels.connect, keyring)
        return SentinelStore(sentinels, examined, deadline=deadline, wait_replicas=wait_replicas)
    connect = connector(url, connect_timeout=deadline)
    return Pipeline(partial(_connect_examined, connect, keyring), deadline=deadline, wait_replicas=wait_replicas)


async def reasons_not_ready(store: Store, *, wait_replicas: int) -> list[str]:
    """Why the store can't be used now; empty = ready."""
    reasons: list[str] = []
    for name, info in (await store.infos()).items():
        found = (
            [info.detail]
            if isinstance(info, StoreUnavailable)
            else reasons_against(parse_info(info), wait_replicas=wait_replicas)
        )
        reasons += [f"{name}: {reason}" if name else reason for reason in found]
    return reasons


async def _connect_examined(connect: Connect, keyring: Keyring) -> AbstractConnection:
    connection = await connect()
    try:
        await _examine(connection)

        async def ask(*parts: Argument) -> Reply:
            return (await conversation(connection, parts))[0]

        await _adopt(ask, keyring)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


async def _examine(connection: AbstractConnection) -> None:
    (info,) = await conversation(connection, ("INFO",))
    # Replicas that are missing are no reason to refuse: that would end a broker whose store has just failed over to its
    # last replica. Commits are then not confirmed, and readiness says why.
    reasons = reasons_against(parse_info(info), wait_replicas=0)
    if reasons:
        raise StoreUnavailable("; ".join(reasons), retry_after=5)


class _ClusterOpening:
    """Opens the nodes of one Cluster."""

    def __init__(self, address: StoreAddress, keyring: Keyring, deadline: float) -> None:
        self._address = address
        self._keyring = keyring
        self._deadline = deadline
        self._ask_within = deadline * _ASKED_WITHIN
        self._adopted = False
        self._store: ClusterStore

    def store(self, wait_replicas: int) -> ClusterStore:
        """:raises ConfigurationError: the address has an option that can't be used."""
        self._connector_to(self._address.nodes[0])  # tells now what it asks for in vain

        def open_node(node: Node) -> Pipeline:
            return Pipeline(partial(self._connect, node), deadline=self._deadline, wait_replicas=wait_replicas)

        self._store = ClusterStore(
            self._address.nodes,
            asker_of=lambda node: asker(self._address.url_of(node), within=self._ask_within),
            open_node=open_node,
            retired_after=2 * self._deadline,
        )
        return self._store

    async def _connect(self, node: Node) -> AbstractConnection:
        try:
            connection = await self._connector_to(node)()
        except BusyLoadingError:
            raise
        except (RedisError, OSError):
            raise StoreUnavailable("the node can't be reached", retry_after=FAILOVER_SECONDS) from None
        try:
            await _examine(connection)
            await self._adopt_for(node, connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _adopt_for(self, node: Node, connection: AbstractConnection) -> None:
        """Let the ring be compared at the node that knows the keys, before ``node`` is used over ``connection``."""
        home: Node | None = None
        try:
            async with asyncio.timeout(2 * self._ask_within):
                home = await self._home_of(slot_of(names.KEYRING))
                await _adopt(partial(self._ask, node, connection), self._keyring)
        except (RedisError, OSError, TimeoutError, _NotThere):
            if home is not None and home != node:
                self._store.topology.suspect(home)
            if self._adopted and home != node:
                return
            missing = "the node that holds what the store knows of its keys can't be reached"
            raise StoreUnavailable(missing, retry_after=FAILOVER_SECONDS) from None
        self._adopted = True

    async def _ask(self, node: Node, connection: AbstractConnection, *parts: Argument) -> Reply:
        home = await self._home_of(slot_of_command(parts))
        if home == node:
            return (await conversation(connection, parts))[0]
        async with self._connected(home) as elsewhere:
            return (await conversation(elsewhere, parts))[0]

    async def _home_of(self, slot: int | None) -> Node:
        try:
            return await self._store.topology.owner(slot)
        except StoreUnavailable:
            raise _NotThere from None

    @asynccontextmanager
    async def _connected(self, node: Node) -> AsyncIterator[AbstractConnection]:
        connection = await self._connector_to(node)()
        try:
            yield connection
        finally:
            await connection.disconnect(nowait=True)

    def _connector_to(self, node: Node) -> Connect:
        return connector(self._address.url_of(node), connect_timeout=self._deadline)


class _NotThere(Exception):
    """No node serves a key that is needed."""


async def _adopt(ask: _Ask, keyring: Keyring) -> None:
    """Compare the ring with the keys that the store was written with, and learn which key writes."""
    if not await ask("EXISTS", names.KEYRING) and await ask("EXISTS", names.CLIENTS):
        # Any ring would be taken for the first one.
        raise StoreUnavailable(f"the store has clients, but what it knew of its keys is gone; restore {names.KEYRING}")
    fingerprints = [part for pair in keyring.fingerprints().items() for part in pair]
    reply = await ask("EVALSHA", scripts.KEYRING_ADOPT.sha, 1, names.KEYRING, keyring.writer, *fingerprints)
    verdict, kid = (part.decode() for part in reply)
    if verdict == "missing":
        raise StoreUnavailable(f"the store holds secrets sealed with key {kid!r}, which is not in the keyring")
    if verdict == "different":
        raise StoreUnavailable(f"the keyring's key {kid!r} is not the key the store knows under that id")
    try:
        keyring.write_with(kid)
    except ConfigurationError as error:
        raise StoreUnavailable(error.detail) from None

"""From the URL of one server to an open connection with our scripts loaded, or to a few answers of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.errors import ConfigurationError
from broker.vault import scripts
from broker.vault.redis.store import Argument, Reply

_OURS: Final = frozenset({"decode_responses", "encoding", "encoding_errors", "protocol", "parser_class"})
"""Options that change how replies are read: the vault is written for RESP2 and bytes."""

Connect = Callable[[], Awaitable[AbstractConnection]]
Ask = Callable[..., Awaitable[list[Reply]]]
"""Takes commands, each a sequence of words, and answers their replies."""


def connector(url: str, *, connect_timeout: float) -> Connect:
    """How to open a connection to ``url`` (``redis://``, ``rediss://`` or ``unix://``).

    :param connect_timeout: seconds for each of the steps TCP or TLS connect.
    :raises ConfigurationError: the URL has another scheme, a malformed part, or an option that can't be set.
    """
    make = _maker(url, connect_timeout)

    async def connect() -> AbstractConnection:
        connection = make()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await _load_scripts(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    return connect


def asker(url: str, *, within: float) -> Ask:
    """How to ask the server at ``url`` something over a connection of its own, that is closed again.

    It is for what has to be known before a connection can be chosen: where the primary is, who serves which slots.
    What it answers raises ``RedisError``, ``OSError`` or ``TimeoutError`` where there is no answer.

    :param within: seconds for everything.
    :raises ConfigurationError: as :func:`connector`.
    """
    make = _maker(url, within)

    async def ask(*commands: Sequence[str | int]) -> list[Reply]:
        connection = make()
        try:
            async with asyncio.timeout(within):
                await connection.connect()  # type: ignore[no-untyped-call]
                return await conversation(connection, *commands)
        finally:
            await connection.disconnect(nowait=True)

    return ask


async def conversation(connection: AbstractConnection, *commands: Sequence[Argument]) -> list[Reply]:
    """The replies to ``commands`` on a connection that carries nothing else yet. Raises the first error reply."""
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await connection.read_response() for _ in commands]


def _maker(url: str, connect_timeout: float) -> Callable[[], AbstractConnection]:
    faults = [f"BROKER_REDIS_URL: the option {name} can't be set, replies are read in one way" for name in _ours(url)]
    if faults:
        raise ConfigurationError(faults)
    try:
        options: dict[str, Any] = {**parse_url(url)}
        connection_class: type[AbstractConnection] = options.pop("connection_class", Connection)
        make = partial(
            connection_class,
            **options,
            # redis-py repeats commands ten times by default; a write whose answer got lost would run again.
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=connect_timeout,
            # The pipeline has one deadline for a whole batch; a second clock per reply would only cost.
            socket_timeout=None,
            protocol=2,
            client_name="broker",
        )
        make()  # Opens nothing, but tells now and not at the first request what the URL asks for in vain.
    except (ValueError, TypeError):
        raise ConfigurationError(["BROKER_REDIS_URL: not a URL of a store that can be used"]) from None
    return make


def _ours(url: str) -> list[str]:
    try:
        return sorted(_OURS & set(parse_qs(urlsplit(url).query, keep_blank_values=True)))
    except ValueError:
        return []


async def _load_scripts(connection: AbstractConnection) -> None:
    await conversation(connection, *(("SCRIPT", "LOAD", script.source) for script in scripts.ALL))

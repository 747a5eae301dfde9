"""From a store URL to an open connection with our scripts loaded."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.errors import ConfigurationError
from broker.vault import scripts

_OURS: Final = frozenset({"decode_responses", "encoding", "encoding_errors", "protocol", "parser_class"})
"""Options that change how replies are read: the vault is written for RESP2 and bytes."""

Connect = Callable[[], Awaitable[AbstractConnection]]


def connector(url: str, *, connect_timeout: float) -> Connect:
    """How to open a connection to ``url`` (``redis://``, ``rediss://`` or ``unix://``).

    :param connect_timeout: seconds for each of the steps TCP or TLS connect.
    :raises ConfigurationError: the URL has another scheme, a malformed part, or an option that can't be set.
    """
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
        raise ConfigurationError(
            ["BROKER_REDIS_URL: not a redis://, rediss:// or unix:// URL that can be used"]
        ) from None

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


def _ours(url: str) -> list[str]:
    try:
        return sorted(_OURS & set(parse_qs(urlsplit(url).query, keep_blank_values=True)))
    except ValueError:
        return []


async def _load_scripts(connection: AbstractConnection) -> None:
    commands = [("SCRIPT", "LOAD", script.source) for script in scripts.ALL]
    await connection.send_packed_command(connection.pack_commands(commands))
    for _ in commands:
        await connection.read_response()

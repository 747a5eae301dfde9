"""Many connections in a minute: what they would have left in the store, had people made them and apps used them.

They are clones of one that was: with ids, a grant, an account, a subject and secrets of their own, sealed for their own
places, and with the events that it had. The vault's own code writes them (records, journal); only that nothing waits
for an answer: what it asks of the store is packed and goes off by the megabyte, from a process per core. Nobody else
should work on the store meanwhile, for its append-only file is set up anew at the end.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, cast

import hiredis
import redis

from broker.models.connection import Connection, Credential
from broker.models.event import Event
from broker.models.ids import bucket_of, new_id, new_secret
from broker.settings import Settings
from broker.settings.values import parse_keys
from broker.vault import names, scripts
from broker.vault.journal import Journal
from broker.vault.keyring import Keyring
from broker.vault.opening import open_store
from broker.vault.records import Records
from broker.vault.redis.data_dir import ensure_keys, socket_path, store_url
from broker.vault.redis.store import Argument, Commit, Confirmation, Store
from broker.vault.scripts import Script

_AT_ONCE: Final = 1_000
_LOOKS_EVERY: Final = 0.1
_SPREAD_MS: Final = 3_600_000
"""When they were made, and when their refreshes are due: over an hour."""


@dataclass(frozen=True)
class Template:
    """What is cloned."""

    connection: Connection
    credential: Credential
    events: Sequence[Event]
    """Those of the connection that are in the journal, the oldest first."""


def fill(
    data_dir: Path, template_id: str, count: int, *, processes: int | None = None, token_length: int | None = None
) -> list[str]:
    """Put ``count`` clones of a connection into the running embedded store; answers their ids.

    :param token_length: characters of their access and refresh tokens, if not as many as the template's have.

    :raises RuntimeError: the store refused something.
    """
    keyring = _keyring(data_dir)
    template = asyncio.run(_template(data_dir, keyring, template_id))
    if token_length is not None:
        template = replace(template, credential=_with_tokens(template.credential, token_length))
    split = processes or os.cpu_count() or 1
    parts = [count // split + (number < count % split) for number in range(split)]
    with redis.Redis(unix_socket_path=str(socket_path(data_dir))) as store:
        # A million of flushes to the disk tell nothing; one file in the end does.
        store.config_set("appendonly", "no")
        for script in scripts.ALL:
            store.script_load(script.source)
        with ProcessPoolExecutor(split, get_context("spawn")) as pool:
            made = [*pool.map(_fill, repeat(data_dir), repeat(template), parts)]
        store.config_set("appendonly", "yes")
        while not _on_disk(store):
            time.sleep(_LOOKS_EVERY)
    return [connection_id for ids in made for connection_id in ids]


def _on_disk(store: redis.Redis) -> bool:
    state: Any = store.info("persistence")
    return not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]


def _fill(data_dir: Path, template: Template, count: int) -> list[str]:
    return asyncio.run(_clones(data_dir, template, count))


async def _clones(data_dir: Path, template: Template, count: int) -> list[str]:
    keyring = _keyring(data_dir)
    made: list[str] = []
    with closing(_Writer(socket_path(data_dir))) as writer:
        store = cast(Store, writer)
        records, journal = Records(store, keyring), _journal(store)
        while len(made) < count:
            clones = [_clone(template) for _ in range(min(_AT_ONCE, count - len(made)))]
            for clone in clones:
                await records.create(clone.connection, clone.credential, clone.events[0])
                if clone.connection.last_used_at is not None:
                    await store.execute("HSET", names.record(clone.connection.id), "u", clone.connection.last_used_at)
            await journal.write([event for clone in clones for event in clone.events])
            # What creating has put there is in the journal now.
            for bucket in {bucket_of(clone.connection.id) for clone in clones}:
                await store.execute("DEL", names.bucket_outbox(bucket))
            writer.flush()
            made += [clone.connection.id for clone in clones]
    return made


async def _template(data_dir: Path, keyring: Keyring, connection_id: str) -> Template:
    store = open_store(store_url(data_dir), keyring, wait_replicas=0)
    try:
        found = await Records(store, keyring).read_with_credential(connection_id)
        if found is None or found[1] is None:
            raise RuntimeError(f"there is no {connection_id} to be cloned")
        connection, credential = found[0], found[1]
        told = await _journal(store).of_connection(connection.tenant, connection_id, None, 100)
    finally:
        await store.aclose()
    return Template(connection, credential, [event for _, event in reversed(told)])


def _keyring(data_dir: Path) -> Keyring:
    return Keyring(cast(tuple[tuple[str, bytes], ...], parse_keys(ensure_keys(data_dir))))


def _journal(store: Store) -> Journal:
    kept = Settings.model_fields["events_retention"].default
    return Journal(store, keep_milliseconds=kept.milliseconds, keep_events=kept.events)


def _clone(template: Template) -> Template:
    """Another one like it, made at another time, by somebody else."""
    connection, credential, later = template.connection, template.credential, secrets.randbelow(_SPREAD_MS)
    identity, account = (
        new_id("con"),
        connection.account and replace(connection.account, id=_like(connection.account.id)),
    )
    health = connection.health
    clone = replace(
        connection,
        id=identity,
        grant_id=new_id("grant"),
        subject=f"person {secrets.randbelow(10**9):09}",
        created_at=connection.created_at + later,
        account=account,
        health=replace(health, next_refresh_at=health.next_refresh_at and health.next_refresh_at + later),
        consents=tuple(
            replace(consent, at=consent.at + later, session=consent.session and new_id("cs"), account=account)
            for consent in connection.consents
        ),
    )
    sealed = replace(
        credential,
        access_token=_like(credential.access_token),
        refresh_token=credential.refresh_token and _like(credential.refresh_token),
    )
    events = [
        replace(one, id=new_id("evt"), connection_id=identity, at=one.at + later, request_id=new_id("req"))
        for one in template.events
    ]
    return Template(clone, sealed, events)


def _with_tokens(credential: Credential, length: int) -> Credential:
    long = "x" * length
    return replace(credential, access_token=long, refresh_token=credential.refresh_token and long)


def _like(text: str) -> str:
    """Something random of the same length."""
    return (new_secret() * (len(text) // 43 + 1))[: len(text)]


class _Writer:
    """The part of a store that only writes: it keeps what it is told until it is sent off."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader()
        self._packed: list[bytes] = []

    async def execute(self, *parts: Argument) -> None:
        self._packed.append(hiredis.pack_command(parts))  # type: ignore[arg-type] # its stub knows tuples of one only

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> None:
        await self.execute("EVALSHA", script.sha, len(keys), *keys, *arguments)

    async def commit(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Commit:
        await self.run(script, keys, arguments)
        return Commit(1, Confirmation(None))

    def flush(self) -> None:
        """Send it off, and return when all of it is done.

        :raises RuntimeError: the store refused something.
        """
        self._socket.sendall(b"".join(self._packed))
        for _ in range(len(self._packed)):
            if isinstance(reply := self._reply(), hiredis.ReplyError):
                raise RuntimeError(f"the store refused: {reply}")
        self._packed = []

    def _reply(self) -> Any:  # noqa: ANN401 - whatever the store says
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(1 << 16))
        return reply

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

"""Documents: clients and broker tokens, whole or not at all, gone when their time is over."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
import redis

from broker.errors import StoreUnavailable
from broker.models.event import Event
from broker.vault import names, scripts
from broker.vault.documents import Documents
from broker.vault.redis.connecting import connector
from broker.vault.redis.pipeline import Pipeline
from broker.vault.redis.store import Argument, Reply, Store
from broker.vault.scripts import Script
from tests.vault.faulty_proxy import FaultyProxy
from tests.vault.samples import NOW, outbox

MADE, CHANGED, DELETED = (
    Event(type=f"client.{what}", tenant="acme", at=NOW, data={"client": "cl_1"})
    for what in ("created", "rotated", "deleted")
)


async def test_clients_are_kept_listed_and_deleted(pipeline: Store) -> None:
    """The list follows the documents; deleting what isn't there is told."""
    documents = Documents(pipeline)
    assert await documents.client("cl_1") is None
    for client_id in ("cl_2", "cl_1"):
        await documents.put_client(client_id, {"name": client_id, "tenant": "acme"}, MADE)
    assert await documents.clients() == ["cl_1", "cl_2"]
    assert await documents.client("cl_1") == b'{"name": "cl_1", "tenant": "acme"}'
    assert await documents.delete_client("cl_1", DELETED)
    assert not await documents.delete_client("cl_1", DELETED)
    assert await documents.client("cl_1") is None
    assert await documents.clients() == ["cl_2"]


async def test_a_client_is_replaced_as_it_was_read_or_not_at_all(pipeline: Store, raw_store: redis.Redis) -> None:
    """Neither does it undo another change, nor bring back who was deleted."""  # S13
    documents = Documents(pipeline)
    await documents.put_client("cl_1", {"name": "first"}, MADE)
    before = await documents.client("cl_1")
    assert before is not None
    assert await documents.replace_client("cl_1", before, {"name": "second"}, CHANGED)
    assert not await documents.replace_client("cl_1", before, {"name": "third"}, CHANGED)
    now = await documents.client("cl_1")
    assert now == b'{"name": "second"}'
    await documents.delete_client("cl_1", DELETED)
    assert not await documents.replace_client("cl_1", now, {"name": "third"}, CHANGED)
    assert await documents.client("cl_1") is None
    assert outbox(raw_store, "cl_1") == [MADE, CHANGED, DELETED]


Happens = Callable[[], Awaitable[None]] | None


class Between:
    """A store on which something else happens right before or after one script runs."""

    def __init__(self, store: Store, script: Script, *, before: Happens = None, after: Happens = None) -> None:
        self._store, self._script = store, script
        self._before, self._after = before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Reply:
        """As the store does."""
        if script is self._script and self._before:
            await self._before()
        reply = await self._store.run(script, keys, arguments)
        if script is self._script and self._after:
            await self._after()
        return reply


async def test_who_is_registered_again_while_being_deleted_is_listed(pipeline: Store) -> None:
    """Between the deletion's two steps."""
    documents = Documents(pipeline)
    await documents.put_client("cl_1", {"name": "first"}, MADE)

    async def register() -> None:
        await documents.put_client("cl_1", {"name": "second"}, MADE)

    await Documents(cast(Store, Between(pipeline, scripts.CLIENT_DELETE, after=register))).delete_client(
        "cl_1", DELETED
    )
    assert await documents.client("cl_1") == b'{"name": "second"}'
    assert await documents.clients() == ["cl_1"]


async def test_who_is_deleted_while_being_registered_again_is_listed(pipeline: Store) -> None:
    """The whole deletion, between the registration's first two steps."""
    documents = Documents(pipeline)
    await documents.put_client("cl_1", {"name": "first"}, MADE)

    async def delete() -> None:
        await documents.delete_client("cl_1", DELETED)

    again = Documents(cast(Store, Between(pipeline, scripts.CLIENT_WRITE, before=delete)))
    await again.put_client("cl_1", {"name": "second"}, MADE)
    assert await documents.client("cl_1") == b'{"name": "second"}'
    assert await documents.clients() == ["cl_1"]


async def test_what_cant_be_recorded_of_a_client_is_not_done(pipeline: Store, raw_store: redis.Redis) -> None:
    """Its outbox is something else: neither is it changed or deleted, nor a new one stored in its place."""
    documents = Documents(pipeline)
    await documents.put_client("cl_1", {"name": "first"}, MADE)
    raw_store.set(names.outbox("cl_1"), "no stream")
    for change in (
        lambda: documents.replace_client("cl_1", b'{"name": "first"}', {"name": "second"}, CHANGED),
        lambda: documents.put_client("cl_1", {"name": "second"}, MADE),
        lambda: documents.delete_client("cl_1", DELETED),
    ):
        with pytest.raises(StoreUnavailable):
            await change()
        assert await documents.client("cl_1") == b'{"name": "first"}'


Step = Callable[[Documents], Awaitable[object]]
STEPS: dict[str, tuple[Step, Event]] = {
    "changed": (lambda documents: documents.replace_client("cl_1", b'{"name": "first"}', {}, CHANGED), CHANGED),
    "deleted": (lambda documents: documents.delete_client("cl_1", DELETED), DELETED),
}


@pytest.mark.parametrize("step", STEPS)
async def test_a_change_whose_answer_got_lost_is_on_record(
    proxy: FaultyProxy, raw_store: redis.Redis, step: str
) -> None:
    """The event is written by the step that it tells of: a repeat, which finds the work done, need not make up for it,
    and tells nothing twice."""  # R3
    change, event = STEPS[step]
    async with AsyncExitStack() as stack:
        pipeline = Pipeline(connector(f"redis://{proxy.address}", connect_timeout=2), deadline=5)
        stack.push_async_callback(pipeline.aclose)
        documents = Documents(pipeline)
        await documents.put_client("cl_1", {"name": "first"}, MADE)
        proxy.drop_next_answer()
        with pytest.raises(StoreUnavailable):
            await change(documents)
        assert outbox(raw_store, "cl_1") == [MADE, event]
        assert not await change(documents)
        assert outbox(raw_store, "cl_1") == [MADE, event]


async def test_a_broker_token_ends_by_itself(pipeline: Store, raw_store: redis.Redis) -> None:
    """It never stands in the store without an end, and can be forgotten before."""
    documents = Documents(pipeline)
    await documents.put_broker_token("d1", {"client_id": "cl_1"}, lifetime=900_000)
    assert await documents.broker_token("d1") == {"client_id": "cl_1"}
    assert 0 < raw_store.pttl(names.broker_token("d1")) <= 900_000
    await documents.delete_broker_token("d1")
    assert await documents.broker_token("d1") is None

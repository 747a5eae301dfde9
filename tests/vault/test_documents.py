"""Documents: clients and broker tokens, whole or not at all, gone when their time is over."""

import redis

from broker.vault import names
from broker.vault.documents import Documents
from broker.vault.redis.store import Store


async def test_clients_are_kept_listed_and_deleted(pipeline: Store) -> None:
    """The list follows the documents; deleting what isn't there is told."""
    documents = Documents(pipeline)
    assert await documents.client("cl_1") is None
    for client_id in ("cl_2", "cl_1"):
        await documents.put_client(client_id, {"name": client_id, "tenant": "acme"})
    assert await documents.clients() == ["cl_1", "cl_2"]
    assert await documents.client("cl_1") == b'{"name": "cl_1", "tenant": "acme"}'
    assert await documents.delete_client("cl_1")
    assert not await documents.delete_client("cl_1")
    assert await documents.client("cl_1") is None
    assert await documents.clients() == ["cl_2"]


async def test_a_client_is_replaced_as_it_was_read_or_not_at_all(pipeline: Store) -> None:
    """Neither does it undo another change, nor bring back who was deleted."""  # S13
    documents = Documents(pipeline)
    await documents.put_client("cl_1", {"name": "first"})
    before = await documents.client("cl_1")
    assert before is not None
    assert await documents.replace_client("cl_1", before, {"name": "second"})
    assert not await documents.replace_client("cl_1", before, {"name": "third"})
    now = await documents.client("cl_1")
    assert now == b'{"name": "second"}'
    await documents.delete_client("cl_1")
    assert not await documents.replace_client("cl_1", now, {"name": "third"})
    assert await documents.client("cl_1") is None


async def test_a_broker_token_ends_by_itself(pipeline: Store, raw_store: redis.Redis) -> None:
    """It never stands in the store without an end, and can be forgotten before."""
    documents = Documents(pipeline)
    await documents.put_broker_token("d1", {"client_id": "cl_1"}, lifetime=900_000)
    assert await documents.broker_token("d1") == {"client_id": "cl_1"}
    assert 0 < raw_store.pttl(names.broker_token("d1")) <= 900_000
    await documents.delete_broker_token("d1")
    assert await documents.broker_token("d1") is None

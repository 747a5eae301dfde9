"""Registered clients: what is refused, what is stored, and who counts as nobody."""

import json

import pytest
import redis

from broker.access.return_urls import matches_return_url
from broker.app.heart import Heart
from broker.errors import InvalidRequest, NotFound
from broker.models.ids import digest, new_id
from broker.vault import names
from tests.access.stored import rewrite
from tests.world import RETURN_URL


async def test_a_client_is_registered_read_listed_and_deleted(heart: Heart) -> None:
    """Its life; the list of a tenant holds the clients of that tenant."""
    mine, _ = await heart.clients.create("mine", scopes=["connect"], tenant="acme", return_urls=[RETURN_URL])
    other, _ = await heart.clients.create("other", scopes=["connect"], tenant="other")
    assert await heart.clients.read(mine.client_id) == mine
    assert await heart.clients.list("acme") == [mine]
    assert {client.client_id for client in await heart.clients.list()} == {mine.client_id, other.client_id}
    await heart.clients.delete(mine.client_id)
    assert await heart.clients.read(mine.client_id) is None
    assert await heart.clients.list() == [other]
    with pytest.raises(NotFound):
        await heart.clients.delete(mine.client_id)


async def test_only_the_digest_of_a_secret_is_stored(heart: Heart, raw_store: redis.Redis) -> None:
    """Who reads the store can't authenticate."""  # K1
    client, secret = await heart.clients.create("app", scopes=["connect"])
    stored = raw_store.get(names.client(client.client_id))
    assert isinstance(stored, bytes)
    assert secret.encode() not in stored
    assert json.loads(stored)["secret_digests"] == [digest(secret)]


async def test_the_default_tenant_is_written_down(heart: Heart, raw_store: redis.Redis) -> None:
    """It is a tenant like any other, named in the record."""  # S6
    client, _ = await heart.clients.create("app", scopes=["connect"])
    stored = raw_store.get(names.client(client.client_id))
    assert isinstance(stored, bytes)
    assert json.loads(stored)["tenant"] == "default"


@pytest.mark.parametrize("tenant", ["", None])
async def test_a_stored_client_without_a_tenant_is_nobody(
    heart: Heart, raw_store: redis.Redis, tenant: str | None
) -> None:
    """It is never taken for one of a default tenant."""  # S6
    client, _ = await heart.clients.create("app", scopes=["connect"])
    rewrite(raw_store, names.client(client.client_id), tenant=tenant)
    assert await heart.clients.read(client.client_id) is None
    assert await heart.clients.list() == []


@pytest.mark.parametrize("client_id", ["", "cl_", "keyring", "clients", "cl_*", "con_" + "a" * 22, "cl_" + "ä" * 22])
async def test_what_is_no_client_id_reads_nothing(heart: Heart, raw_store: redis.Redis, client_id: str) -> None:
    """A name that a caller chose never becomes a key of the store."""
    raw_store.config_resetstat()
    assert await heart.clients.read(client_id) is None
    assert "cmdstat_get" not in raw_store.info("commandstats")


async def test_every_fault_is_named_at_once(heart: Heart, raw_store: redis.Redis) -> None:
    """Name, tenant, scopes, return addresses, providers and completions; nothing is stored."""
    with pytest.raises(InvalidRequest) as refused:
        await heart.clients.create(
            " app\n",
            scopes=["connect", "everything"],
            tenant="",
            return_urls=["http://app.example/back"],
            providers=["practice", "nowhere"],
            known_providers=heart.providers.names,
            completions=["browser", "app"],
        )
    fields = [fault.field for fault in refused.value.faults]
    assert fields == ["name", "tenant", "scope", "return_url", "provider", "completion"]
    assert raw_store.keys("broker:*cl_*") == []
    assert raw_store.keys(names.CLIENTS) == []


async def test_a_client_needs_a_scope(heart: Heart) -> None:
    """A client that may do nothing is a mistake."""
    with pytest.raises(InvalidRequest):
        await heart.clients.create("app", scopes=[])


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example/back",
        "https://app.example:8443/back?x=1",
        "http://localhost/back",
        "http://127.0.0.1:5000/back",
        "http://[::1]/back",
    ],
)
async def test_an_exact_https_address_or_loopback_can_be_registered(heart: Heart, url: str) -> None:
    """Plain http goes no further than the own machine (RFC 8252 §7.3)."""
    client, _ = await heart.clients.create("app", scopes=["connect"], return_urls=[url, url])
    assert client.return_urls == (url,)


@pytest.mark.parametrize(
    "url",
    [
        "", "/back", "//app.example/back", "app.example/back", "javascript:alert(1)", "data:text/html,x", "https://",
        "http://app.example/back", "http://10.0.0.1/back", "http://localhost.evil.example/back",
        "https://user@app.example/back", "https://app.example@evil.example/", "https://app.example/back#",
        "https://app.example/back#x", "https://app.example\\@evil.example/", "https://app.example/ba ck",
        "https://app.example/back\n", "https://äpp.example/", "https://app.example:99999/", "https://app.example:0/",
        "https://[::1/", "ftp://app.example/back",
    ],
)  # fmt: skip
async def test_any_other_return_address_is_refused(heart: Heart, url: str) -> None:
    """Nothing that two readers could take for two places."""  # B9
    with pytest.raises(InvalidRequest) as refused:
        await heart.clients.create("app", scopes=["connect"], return_urls=[url])
    assert [fault.field for fault in refused.value.faults] == ["return_url"]


@pytest.mark.parametrize(
    ("registered", "requested", "matches"),
    [
        ("https://app.example/back", "https://app.example/back", True),
        ("https://app.example/back", "https://app.example/back/", False),
        ("https://app.example/back", "https://app.example/Back", False),
        ("https://app.example/back", "https://APP.example/back", False),
        ("https://app.example/back", "https://app.example:443/back", False),
        ("https://app.example/back", "https://app.example./back", False),
        ("https://app.example/back", "https://app.example/back?x=1", False),
        ("https://app.example/back", "https://app.example/b%61ck", False),
        ("https://app.example/back", "https://app.example/x/../back", False),
        ("https://app.example/back", "http://app.example/back", False),
        ("https://app.example/back", "//app.example/back", False),
        ("https://app.example/back", "https://app.example\\back", False),
        ("https://app.example/back", "https://app.example@evil.example/back", False),
        # Only the port of a loopback address that was registered without one is free (RFC 8252 §7.3).
        ("http://127.0.0.1/back", "http://127.0.0.1:49152/back", True),
        ("http://localhost", "http://localhost:49152", True),
        ("http://[::1]/back", "http://[::1]:49152/back", True),
        ("http://127.0.0.1/back", "http://127.0.0.1:/back", False),
        ("http://127.0.0.1/back", "http://127.0.0.1:0/back", False),
        ("http://127.0.0.1/back", "http://127.0.0.1:080/back", False),
        ("http://127.0.0.1/back", "http://127.0.0.1:70000/back", False),
        ("http://127.0.0.1/back", "http://127.0.0.1:80@evil.example/back", False),
        ("http://127.0.0.1/back", "http://127.0.0.1:80/x/back", False),
        ("http://127.0.0.1/back", "http://localhost:80/back", False),
        ("http://127.0.0.1:5000/back", "http://127.0.0.1:5001/back", False),
        ("https://localhost/back", "https://localhost:5001/back", False),
    ],
)
def test_a_return_address_matches_character_by_character(registered: str, requested: str, matches: bool) -> None:
    """RFC 9700 §4.1.3."""  # B9
    assert matches_return_url(registered, requested) is matches


async def test_an_unknown_client_is_none(heart: Heart) -> None:
    """A well-formed id that nobody has."""
    assert await heart.clients.read(new_id("cl")) is None


async def test_a_client_that_a_newer_replica_registered_is_read(heart: Heart, raw_store: redis.Redis) -> None:
    """What this version does not know of it is passed over."""
    client, _ = await heart.clients.create("app", scopes=["connect"])
    rewrite(raw_store, names.client(client.client_id), added_in_a_later_version={"a": 1})
    assert await heart.clients.read(client.client_id) == client

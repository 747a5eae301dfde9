"""New secrets for clients: the old one works on for a while, and nobody's new one gets lost."""

import asyncio
import json

import pytest
import redis

from broker.access.clients import LONGEST_OVERLAP, Actor
from broker.app.heart import Heart, build_heart
from broker.errors import Conflict, InvalidRequest, InvalidToken, NotFound, Unauthenticated
from broker.models.ids import digest, new_id
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from tests.access.keys import SIGNING, public_set
from tests.access.stored import rewrite
from tests.world import FakeClock

HERE = "203.0.113.7"


async def _works(heart: Heart, client_id: str, secret: str) -> bool:
    try:
        await heart.authenticator.client(client_id, secret, HERE)
    except Unauthenticated:
        return False
    return True


async def test_both_secrets_work_until_the_overlap_ends(heart: Heart, clock: FakeClock) -> None:
    """Programs move one after the other; then the old one is worth nothing."""  # S13
    client, old = await heart.clients.create("app", scopes=["connect"])
    made = await heart.clients.rotate(client.client_id, overlap=60)
    assert made.previous_ends_at == clock() + 60_000
    clock.advance(seconds=59.9)
    assert [await _works(heart, client.client_id, secret) for secret in (old, made.secret)] == [True, True]
    clock.advance(seconds=0.1)
    assert [await _works(heart, client.client_id, secret) for secret in (old, made.secret)] == [False, True]


async def test_an_earlier_secret_keeps_the_end_that_was_said(heart: Heart, clock: FakeClock) -> None:
    """Rotated again because an answer was lost: the secret that programs still have does not stop any sooner."""  # R3
    client, first = await heart.clients.create("app", scopes=["connect"])
    await heart.clients.rotate(client.client_id, overlap=600)
    third = (await heart.clients.rotate(client.client_id, overlap=60)).secret
    assert await _works(heart, client.client_id, first)
    clock.advance(seconds=599.9)
    assert await _works(heart, client.client_id, first)
    clock.advance(seconds=0.1)
    assert not await _works(heart, client.client_id, first)
    assert await _works(heart, client.client_id, third)


async def test_what_a_worker_issues_that_has_not_heard_of_it_is_worth_nothing(
    heart: Heart, settings: Settings, providers: Registry, clock: FakeClock
) -> None:
    """The leaked secret may be known there for seconds more: tokens got with it are as dead as the others."""  # S13
    client, leaked = await heart.clients.create("app", scopes=["connect"])
    late = build_heart(settings, providers, clock)
    try:
        await late.authenticator.client(client.client_id, leaked, HERE)
        await heart.clients.rotate(client.client_id, overlap=0)
        known = await late.authenticator.client(client.client_id, leaked, HERE)
        stolen = (await late.broker_tokens.issue(known, None)).token
        for worker in (heart, late):
            with pytest.raises(InvalidToken):
                await worker.authenticator.bearer(stolen, HERE)
        await late.authenticator.revalidate()
        assert not await _works(late, client.client_id, leaked)
    finally:
        await late.aclose(work_ends_within=0)


async def test_without_overlap_secret_and_broker_tokens_end_at_once(heart: Heart, clock: FakeClock) -> None:
    """It may have leaked, and what was got with it as well; a token got with the new one works."""  # S13
    client, old = await heart.clients.create("app", scopes=["connect"])
    stolen = (await heart.broker_tokens.issue(client, None)).token
    clock.advance(seconds=1)
    made = await heart.clients.rotate(client.client_id, overlap=0)
    assert made.previous_ends_at is None
    assert not await _works(heart, client.client_id, old)
    with pytest.raises(InvalidToken):
        await heart.authenticator.bearer(stolen, HERE)
    clock.advance(seconds=1)
    renewed = await heart.authenticator.client(client.client_id, made.secret, HERE)
    token = (await heart.broker_tokens.issue(renewed, None)).token
    assert (await heart.authenticator.bearer(token, HERE)).client_id == client.client_id


async def test_a_token_that_is_issued_meanwhile_ends_as_well(heart: Heart, clock: FakeClock) -> None:
    """Its request had proved itself before, at a replica whose clock is ahead: no clock decides."""  # S13
    client, _ = await heart.clients.create("app", scopes=["connect"])
    proved_before = await heart.clients.read(client.client_id)
    assert proved_before is not None
    await heart.clients.rotate(client.client_id, overlap=0)
    clock.advance(seconds=5)
    late = (await heart.broker_tokens.issue(proved_before, None)).token
    with pytest.raises(InvalidToken):
        await heart.authenticator.bearer(late, HERE)


async def test_tokens_of_the_new_secret_work_in_the_same_millisecond(heart: Heart) -> None:
    """And end with it, also when it is replaced in that millisecond."""  # S13
    client, _ = await heart.clients.create("app", scopes=["connect"])
    for _ in range(2):
        made = await heart.clients.rotate(client.client_id, overlap=0)
        renewed = await heart.authenticator.client(client.client_id, made.secret, HERE)
        token = (await heart.broker_tokens.issue(renewed, None)).token
        assert (await heart.authenticator.bearer(token, HERE)).client_id == client.client_id
    await heart.clients.rotate(client.client_id, overlap=0)
    await heart.authenticator.revalidate()
    with pytest.raises(InvalidToken):
        await heart.authenticator.bearer(token, HERE)


async def test_a_token_in_use_stops_within_seconds(heart: Heart, clock: FakeClock) -> None:
    """Also where a worker remembers it."""  # S13
    client, _ = await heart.clients.create("app", scopes=["connect"])
    stolen = (await heart.broker_tokens.issue(client, None)).token
    await heart.authenticator.bearer(stolen, HERE)
    clock.advance(seconds=1)
    await heart.clients.rotate(client.client_id, overlap=0)
    await heart.authenticator.revalidate()
    with pytest.raises(InvalidToken):
        await heart.authenticator.bearer(stolen, HERE)


async def test_an_overlap_ends_no_broker_token(heart: Heart, clock: FakeClock) -> None:
    """Nothing fails while programs move."""
    client, _ = await heart.clients.create("app", scopes=["connect"])
    token = (await heart.broker_tokens.issue(client, None)).token
    clock.advance(seconds=1)
    await heart.clients.rotate(client.client_id)
    assert (await heart.authenticator.bearer(token, HERE)).client_id == client.client_id


async def test_secrets_that_are_made_at_once_all_work(heart: Heart) -> None:
    """Each was shown to somebody: a rotation that meets another one begins anew."""  # R3
    client, _ = await heart.clients.create("app", scopes=["connect"])
    made = await asyncio.gather(*(heart.clients.rotate(client.client_id, overlap=60) for _ in range(4)))
    assert all([await _works(heart, client.client_id, rotation.secret) for rotation in made])


async def test_a_client_that_was_deleted_does_not_come_back(heart: Heart, raw_store: redis.Redis) -> None:
    """A rotation replaces what it read, or nothing."""  # S13
    client, _ = await heart.clients.create("app", scopes=["connect"])
    await asyncio.gather(
        heart.clients.rotate(client.client_id), heart.clients.delete(client.client_id), return_exceptions=True
    )
    with pytest.raises(NotFound):
        await heart.clients.rotate(client.client_id)
    assert raw_store.get(names.client(client.client_id)) is None


async def test_secrets_do_not_pile_up(heart: Heart, clock: FakeClock, raw_store: redis.Redis) -> None:
    """Five work at most, stored as digests; a sixth waits until one of them has ended."""  # K1
    client, first = await heart.clients.create("app", scopes=["connect"])
    made = [await heart.clients.rotate(client.client_id, overlap=60) for _ in range(4)]
    stored = raw_store.get(names.client(client.client_id))
    assert isinstance(stored, bytes)
    assert json.loads(stored)["secret_digests"] == [*(digest(one.secret) for one in reversed(made)), digest(first)]
    assert all(rotation.secret.encode() not in stored for rotation in made)
    with pytest.raises(Conflict):
        await heart.clients.rotate(client.client_id, overlap=60)
    assert await _works(heart, client.client_id, first)
    clock.advance(seconds=60)
    renewed = await heart.clients.rotate(client.client_id, overlap=60)
    stored = raw_store.get(names.client(client.client_id))
    assert isinstance(stored, bytes)
    assert json.loads(stored)["secret_digests"] == [digest(renewed.secret), digest(made[-1].secret)]


async def test_what_another_version_wrote_is_kept(heart: Heart, raw_store: redis.Redis) -> None:
    """A replica that knows less does not strip a client of what it does not know."""
    client, _ = await heart.clients.create("app", scopes=["connect"])
    rewrite(raw_store, names.client(client.client_id), novelty="kept")
    await heart.clients.rotate(client.client_id)
    stored = raw_store.get(names.client(client.client_id))
    assert isinstance(stored, bytes)
    assert json.loads(stored)["novelty"] == "kept"


async def test_keys_are_replaced_by_keys(heart: Heart) -> None:
    """At once, and only where keys were registered; private ones are refused as ever."""
    client, _ = await heart.clients.create("app", scopes=["connect"], jwks=public_set())
    successor = type(SIGNING).generate_key("P-256", {"kid": "two"})
    changed = await heart.clients.replace_keys(client.client_id, public_set(SIGNING, successor))
    assert await heart.clients.read(client.client_id) == changed
    assert [key["kid"] for key in (changed.jwks or {})["keys"]] == ["one", "two"]
    with pytest.raises(InvalidRequest):
        await heart.clients.replace_keys(client.client_id, {"keys": [SIGNING.as_dict(private=True)]})
    with_secret, _ = await heart.clients.create("other", scopes=["connect"])
    with pytest.raises(Conflict):
        await heart.clients.replace_keys(with_secret.client_id, public_set())


@pytest.mark.parametrize("leaked", [False, True])
async def test_tokens_end_with_keys_that_leaked(heart: Heart, clock: FakeClock, *, leaked: bool) -> None:
    """Only when that is said: else nothing fails while programs move."""  # S13
    client, _ = await heart.clients.create("app", scopes=["connect"], jwks=public_set())
    token = (await heart.broker_tokens.issue(client, None)).token
    clock.advance(seconds=1)
    changed = await heart.clients.replace_keys(client.client_id, public_set(), end_tokens=leaked)
    refused = False
    try:
        await heart.authenticator.bearer(token, HERE)
    except InvalidToken:
        refused = True
    assert refused == leaked
    renewed = (await heart.broker_tokens.issue(changed, None)).token
    assert (await heart.authenticator.bearer(renewed, HERE)).client_id == client.client_id


async def test_what_can_not_be_rotated_says_so(heart: Heart) -> None:
    """No such client, no secret, no such overlap; nothing changes."""
    client, _ = await heart.clients.create("app", scopes=["connect"], jwks_uri="https://app.example/jwks.json")
    with pytest.raises(Conflict):
        await heart.clients.rotate(client.client_id)
    for unknown in (new_id("cl"), "cl_x", ""):
        with pytest.raises(NotFound):
            await heart.clients.rotate(unknown)
    for overlap in (-1, LONGEST_OVERLAP + 1):
        with pytest.raises(InvalidRequest):
            await heart.clients.rotate(client.client_id, overlap=overlap)
    assert await heart.clients.read(client.client_id) == client


async def test_what_happens_to_a_client_is_on_record(heart: Heart) -> None:
    """Made, rotated, deleted: by whom, and nothing secret."""  # K1
    client, secret = await heart.clients.create("app", scopes=["connect"], by=Actor("cl_admin", "req_1"))
    rotated = await heart.clients.rotate(client.client_id)
    await heart.clients.delete(client.client_id)
    await heart.bookkeeping.settle_all()
    events = [event for _, event in await heart.journal.of_tenant("default", None, 10)]
    assert {event.type for event in events} == {"client.created", "client.rotated", "client.deleted"}
    assert all(event.data["client"] == client.client_id for event in events)
    assert {event.client_id for event in events} == {"cl_admin", None}
    assert not any(secret in event.encode() or rotated.secret in event.encode() for event in events)

"""Imports that are broken off: what they have stored is nobody's, and the same command goes on to the same end."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import redis

from broker.app.heart import Heart, build_heart
from broker.connections.moving.order import Stop
from broker.errors import StoreUnavailable
from broker.models.ids import is_id
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from broker.vault.batches import KEPT
from broker.vault.keyring import Keyring
from broker.vault.redis.embedded import EmbeddedStore
from broker.vault.replicas import Replicas
from broker.vault.rotation import Rotation
from tests.cli.conftest import KEY
from tests.connections.moving.taking_in import all_of, die_after, key_row, listed, order_of, stored, take
from tests.journey import MakeClient
from tests.processes import broker_environment
from tests.waiting import until
from tests.world import FakeClock

MANY = 10_000


async def pause(heart: Heart, rows: Any, step: str) -> str:
    """Take the rows in until ``step`` begins; answers the batch."""
    stop = Stop()

    def tell(seen: str, _done: int, _of: int | None) -> None:
        if seen == step:
            stop.set()

    report = await heart.moving.imports.run(order_of(rows, verify=False), lambda: iter(rows), tell, stop)
    assert report.state == "paused"
    assert report.batch is not None
    return report.batch


def records(raw_store: redis.Redis) -> list[bytes]:
    """The keys of all records, staged or not."""
    return [key for key in cast("list[bytes]", raw_store.keys("broker:*con_*")) if key.count(b":") == 2]


async def test_what_is_staged_is_nobodys(heart: Heart, raw_store: redis.Redis, make_client: MakeClient) -> None:
    """It can't be listed, read, fetched or used, and goes by itself. What can't be found can't be asked for, either."""
    app = await make_client("app")
    outboxes = set(cast("list[bytes]", raw_store.keys("broker:*:outbox")))
    rows = [key_row(number) for number in range(1, 301)]
    await pause(heart, rows, "storing")
    staged = [key.decode().rpartition(":")[2] for key in records(raw_store)]
    assert len(staged) == 250
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []
    assert await all_of(heart) == []
    for connection_id in staged[:3]:
        assert await heart.records.read(connection_id) is None
        assert await heart.records.read_with_credential(connection_id) is None
        calls = [
            await app.call("GET", f"/v1/connections/{connection_id}"),
            await app.fetch(connection_id),
            await app.call("POST", f"/v1/connections/{connection_id}/references", {"audience": app.client_id}),
            await app.call("GET", f"/proxy/{connection_id}/me"),
            await app.call("DELETE", f"/v1/connections/{connection_id}"),
        ]
        assert {answer.status_code for answer in calls} == {404}
        assert 0 < raw_store.pttl(names.record(connection_id)) <= KEPT
    assert not raw_store.keys("broker:*:due")
    assert set(cast("list[bytes]", raw_store.keys("broker:*:outbox"))) == outboxes


@pytest.mark.parametrize("step", ["storing", "securing", "publishing"])
async def test_the_same_file_goes_on_to_the_same_end(heart: Heart, raw_store: redis.Redis, step: str) -> None:
    """As many connections as rows, once each, with one event each, in the batch that was begun."""
    rows = [key_row(number) for number in range(1, 601)]
    batch = await pause(heart, rows, step)
    before = {key.decode().rpartition(":")[2] for key in records(raw_store)}
    done = await take(heart, rows, verify=False)
    assert (done.state, done.batch, done.imported) == ("done", batch, 600)
    ids = [one.connection_id for one in await listed(heart, done, rows)]
    assert before <= set(ids)
    assert sorted(connection.id for connection in await all_of(heart)) == sorted(ids)
    events = await heart.store.execute("ZRANGE", names.journal("default"), 0, -1)
    told = Counter(json.loads(event)["connection_id"] for event in events)
    assert told == Counter(ids)
    assert all(raw_store.ttl(key) == -1 for key in records(raw_store))


async def test_broken_off_at_every_command_it_comes_to_the_same_end(
    settings: Settings, providers: Registry, clock: FakeClock, raw_store: redis.Redis, tmp_path: Path
) -> None:
    """Once each: connection, list entry, due work and event; the sink may be told twice, under one id."""
    sink = tmp_path / "events"
    heart = build_heart(settings.model_copy(update={"events_sink": f"file:{sink}"}), providers, clock)
    await heart.store.execute("PING")
    rows = [key_row(number) for number in range(1, 4)]
    paused = 0
    for allowed in range(1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            die_after(patch, heart, allowed)
            try:
                report = await take(heart, rows, verify=False)
            except StoreUnavailable:
                continue
            finally:
                # Nobody gave the batch back.
                raw_store.delete("broker:leader:none", *cast("list[bytes]", raw_store.keys("broker:leader:*")))
        if report.state == "done":
            break
        paused += 1
        # What is published is somebody's from then on, who may change it at once.
        for connection in await all_of(heart):
            if connection.generation == 1:
                raw_store.hset(names.record(connection.id), mapping={"sc": f"changed {allowed}"})
    assert paused > 10
    ids = Counter(one.connection_id for one in await listed(heart, await take(heart, rows, verify=False), rows))
    assert Counter(connection.id for connection in await all_of(heart)) == ids
    events = await heart.store.execute("ZRANGE", names.journal("default"), 0, -1)
    assert Counter(json.loads(event)["connection_id"] for event in events) == ids
    told = {json.loads(line)["id"] for line in sink.read_text().splitlines()}
    assert told == {json.loads(event)["id"] for event in events}
    await heart.aclose(work_ends_within=2)


async def test_a_running_broker_finishes_what_passed_its_commit_point(
    heart: Heart, raw_store: redis.Redis, clock: FakeClock
) -> None:
    """Once nobody is at it any more; what is before it waits for its file."""
    rows = [key_row(number) for number in range(1, 601)]
    batch = await pause(heart, rows, "publishing")
    other = [key_row(number, subject=f"other {number}") for number in range(1, 301)]
    waiting = await pause(heart, other, "storing")
    assert await heart.moving.publishing.step() == 0
    clock.advance(seconds=61)
    assert await heart.moving.publishing.step() == 1
    states = {found.id: found.state for found in await heart.moving.batches.all()}
    assert states == {batch: "done", waiting: "staging"}
    assert len(await all_of(heart)) == 600
    assert (await take(heart, rows, verify=False)).already
    assert await heart.moving.publishing.step() == 0


async def test_what_was_lost_before_the_end_is_stored_again(heart: Heart, raw_store: redis.Redis) -> None:
    """A failover forgot some of it: a running broker stops there, and the command has the file."""
    rows = [key_row(number) for number in range(1, 601)]
    for step in ("storing", "publishing"):
        await pause(heart, rows, step)
        gone = [key for key in records(raw_store) if raw_store.hexists(key, "bt")][:20]
        assert gone
        raw_store.delete(*gone)
    done = await take(heart, rows, verify=False)
    assert (done.state, done.imported) == ("done", 600)
    assert len(await all_of(heart)) == 600


async def test_somebody_who_connected_meanwhile_is_left_out(heart: Heart, raw_store: redis.Redis) -> None:
    """Where such rows are to be skipped; what was stored of theirs goes."""
    rows = [key_row(number) for number in range(1, 301)]
    await pause(heart, rows, "storing")
    assert (await take(heart, [key_row(7, "pk_practice_own_key")], verify=False)).imported == 1
    done = await take(heart, rows, verify=False, existing="skip")
    assert (done.state, done.imported, done.skipped) == ("done", 299, 1)
    assert len(await all_of(heart)) == len(records(raw_store)) == 300


async def test_a_batch_that_nobody_goes_on_with_goes_by_itself(heart: Heart, raw_store: redis.Redis) -> None:
    """All of it has an end; the list forgets it, too."""
    before = await stored(heart, raw_store)
    rows = [key_row(number) for number in range(1, 301)]
    batch = await pause(heart, rows, "storing")
    left = (await stored(heart, raw_store)).keys() - before.keys()
    assert {key for key in left if raw_store.ttl(key.decode()) == -1} == {names.BATCHES.encode()}
    raw_store.delete(*[key for key in left if key != names.BATCHES.encode()])
    assert await heart.moving.batches.read(batch) is None
    assert await heart.moving.batches.all() == []
    assert await stored(heart, raw_store) == before


async def test_keys_are_rotated_while_a_batch_is_staged(
    settings: Settings, providers: Registry, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """Its envelopes are sealed anew as all others, and the new ring finds the batch that the old one began."""  # K4
    old, new = settings.encryption_keys, ("k2", bytes(range(32, 64)))
    assert old is not None
    heart = build_heart(settings, providers, clock)
    rows = [key_row(number) for number in range(1, 301)]
    batch = await pause(heart, rows, "storing")
    await heart.aclose(work_ends_within=2)
    heart = build_heart(settings.model_copy(update={"encryption_keys": (new, *old)}), providers, clock)
    await heart.store.execute("PING")
    rotation = Rotation(heart.store, heart.keyring, Replicas(heart.store, heart.keyring), in_flight=0)
    outcome = await rotation.run("k2", lambda _: None)
    assert (outcome.tally.rewrapped, outcome.tally.unreadable, outcome.retired) == (501, (), ("k1",))
    report = await take(heart, rows, verify=False)
    assert (report.batch, report.imported) == (batch, 300)
    ids = [one.connection_id for one in await listed(heart, report, rows)]
    await heart.aclose(work_ends_within=2)
    heart = build_heart(settings.model_copy(update={"encryption_keys": (new,)}), providers, clock)
    # Also when the key that named the batch has left the ring.
    again = await take(heart, rows, verify=False)
    assert (again.already, again.batch) == (True, batch)
    for connection_id, row in list(zip(ids, rows, strict=True))[::50]:
        found = await heart.records.read_with_credential(connection_id)
        assert found is not None
        assert found[1] is not None
        assert found[1].fields == row.credentials
    assert isinstance(heart.keyring, Keyring)
    await heart.aclose(work_ends_within=2)


# Ten thousand, by processes that are killed.


@pytest.fixture
def environ(tmp_path: Path, raw_store: redis.Redis, store_server: EmbeddedStore, sandbox_url: str) -> Mapping[str, str]:
    """Of a command on the test store."""
    own = {"PRACTICE": sandbox_url, "BROKER_REDIS_URL": store_server.url, "BROKER_ENCRYPTION_KEYS": KEY}
    return broker_environment(tmp_path, own)


def command(environ: Mapping[str, str], *words: str) -> "subprocess.Popen[str]":
    """``broker connections import …``, begun."""
    line = [sys.executable, "-m", "broker.cli.main", "connections", "import", *words]
    return subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its exit code and what it has said."""
    said, complained = process.communicate(timeout=60)
    assert "Traceback" not in complained
    return process.returncode, said, complained


def kill_once(process: "subprocess.Popen[str]", reached: Callable[[], bool]) -> None:
    """``kill -9`` as soon as it has come so far."""
    until(lambda: process.poll() is not None or reached(), every=0.005)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def test_ten_thousand_killed_twice_resumed_and_taken_back(
    environ: Mapping[str, str], raw_store: redis.Redis, sandbox: httpx2.Client, tmp_path: Path
) -> None:
    """One bad row and nothing is there, the row named; killed while storing and while publishing, then exactly all of
    them; then the store is as it was, by count and digest of every key."""
    file, ids = tmp_path / "all.jsonl", tmp_path / "ids.csv"
    lines = [json.dumps(_line(number)) for number in range(1, MANY + 1)]
    bad = json.dumps({**_line(5000), "credentials": {"api_key": "SECRET-of-5000"}})
    file.write_text("\n".join([*lines[:4999], bad, *lines[5000:]]))
    assert ended(command(environ, "--batches", "--json"))[0] == 0
    before = _digests(raw_store)

    code, said, complained = ended(command(environ, str(file), "--no-verify", "--json"))
    refused = json.loads(said)
    assert (code, refused["state"], refused["rows"]) == (1, "refused", MANY)
    assert [(fault["row"], fault["field"]) for fault in refused["faults"]] == [(5000, "credentials.api_key")]
    assert "SECRET" not in said + complained
    assert _digests(raw_store) == before

    file.write_text("\n".join(lines))
    arguments = (str(file), "--no-verify", "--json", "--ids", str(ids))
    kill_once(command(environ, *arguments), lambda: len(records(raw_store)) > MANY // 3)
    (batch,) = [key.decode().partition(":")[2] for key in cast("list[bytes]", raw_store.keys("broker:imp_*"))]
    assert not raw_store.zcard(names.tenant_index("default"))
    raw_store.delete(*cast("list[bytes]", raw_store.keys("broker:leader:*")))
    kill_once(command(environ, *arguments), lambda: raw_store.zcard(names.tenant_index("default")) > 3000)
    assert raw_store.hget(names.batch(batch), "state") == b"publishing"
    raw_store.delete(*cast("list[bytes]", raw_store.keys("broker:leader:*")))

    code, said, _ = ended(command(environ, *arguments))
    done = json.loads(said)
    assert (code, done["state"], done["batch"], done["imported"]) == (0, "done", batch, MANY)
    told = {one["connection_id"] for one in done["connections"]}
    assert len(told) == len(done["connections"]) == MANY
    assert all(is_id("con", connection_id) for connection_id in told)
    shown = cast("list[bytes]", raw_store.zrange(names.tenant_index("default"), 0, -1))
    assert {member.decode() for member in shown} == told
    assert told == {key.decode().rpartition(":")[2] for key in records(raw_store)}
    assert raw_store.zcard(names.journal("default")) == MANY
    assert len(ids.read_text().splitlines()) == MANY + 1

    code, said, _ = ended(command(environ, "--rollback", batch, "-y", "--json"))
    assert (code, json.loads(said)["removed"]) == (0, MANY)
    assert _digests(raw_store) == before


def _line(number: int) -> dict[str, Any]:
    return {
        "provider": "practice-key",
        "subject": f"user {number}",
        "source_id": f"theirs-{number}",
        "credentials": {"api_key": f"pk_practice_{number:06d}"},
    }


def _digests(raw_store: redis.Redis) -> dict[bytes, tuple[bytes, int]]:
    """Every key with its serialized value and its end, but for who lives."""
    keys = [key for key in cast("list[bytes]", raw_store.keys("*")) if key != names.REPLICAS.encode()]
    return {key: (cast("bytes", raw_store.dump(key.decode())), raw_store.pexpiretime(key.decode())) for key in keys}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_between_two_rows(
    environ: Mapping[str, str], raw_store: redis.Redis, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """What is under way is finished, and it says how to go on."""
    file = tmp_path / "all.jsonl"
    file.write_text("\n".join(json.dumps(_line(number)) for number in range(1, 1501)))
    process = command(environ, str(file), "--no-verify", "--json")
    until(lambda: process.poll() is not None or len(records(raw_store)) >= 300, every=0.005)
    process.send_signal(number)
    exit_code, said, _ = ended(process)
    report = json.loads(said)
    assert (exit_code, report["state"], report["why"]) == (code, "paused", "it was interrupted")
    assert not raw_store.keys("broker:leader:*")
    exit_code, said, complained = ended(command(environ, str(file), "--no-verify"))
    assert exit_code == 0
    assert f"--rollback {report['batch']}" in complained

"""``broker keys``."""

import base64
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import redis

from broker.app.heart import Heart
from broker.errors import StoreUnavailable
from broker.models.connection import Connection
from broker.settings.values import parse_keys
from broker.vault import names
from broker.vault.records import Records
from tests.cli.conftest import KEY, Cli
from tests.journey import everything_in, snapshot
from tests.processes import broker_environment, broker_process
from tests.vault.rotating import naming

KEY_2 = f"k2:{base64.b64encode(bytes(range(32, 64))).decode()}"
AtHeart = Callable[[Callable[[Heart], Coroutine[Any, Any, Any]]], Any]


def test_a_generated_key_fits_the_setting(cli: Cli, raw_store: redis.Redis) -> None:
    """``generate`` prints one usable ``kid:base64`` on stdout, another one each time, and keeps it nowhere."""
    first, second = cli("keys", "generate").stdout.strip(), cli("keys", "generate").stdout.strip()
    assert first != second
    assert len(parse_keys(f"{first},{second}")) == 2  # type: ignore[arg-type]
    named = cli("keys", "generate", "--kid", "spring", "--json").json
    assert named["kid"] == "spring"
    assert named["key"].startswith("spring:")
    assert everything_in(raw_store) == b""


def test_a_key_id_must_fit_the_setting(cli: Cli) -> None:
    """A key id that BROKER_ENCRYPTION_KEYS could not hold is refused with 2, and no key is printed."""
    result = cli("keys", "generate", "--kid", "a:b")
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_keyring_is_shown_without_its_keys(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """``status`` names the keys, tells which one writes, and shows no byte of a key."""
    other = cli("keys", "generate", "--kid", "k2").stdout.strip()
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", f"{KEY},{other}")
    result = cli("keys", "status", "--json")
    assert (result.json["source"], result.json["writer"]) == ("BROKER_ENCRYPTION_KEYS", "k1")
    assert [(key["kid"], key["writes"]) for key in result.json["keys"]] == [("k1", True), ("k2", False)]
    for key in (KEY, other):
        assert key.partition(":")[2] not in result.stdout + cli("keys", "status").stdout


def test_a_ring_that_lacks_the_stores_key_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other keys than the store was written with, ``status`` ends with 3 and names the missing one."""  # K6
    assert cli("keys", "status").exit_code == 0
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", cli("keys", "generate", "--kid", "k2").stdout.strip())
    result = cli("keys", "status")
    assert result.exit_code == 3
    assert "'k1'" in result.stderr
    assert result.stdout == ""


def access_tokens(at_heart: AtHeart, *connections: Connection) -> list[str]:
    """The stored access tokens."""

    async def read(heart: Heart) -> list[str]:
        found = [await heart.records.read_with_credential(connection.id) for connection in connections]
        return [credential.access_token for _, credential in filter(None, found) if credential is not None]

    tokens: list[str] = at_heart(read)
    assert len(tokens) == len(connections)
    return tokens


def test_the_first_key_of_the_ring_takes_over(
    cli: Cli,
    at_heart: AtHeart,
    make_connection: Callable[..., Connection],
    monkeypatch: pytest.MonkeyPatch,
    raw_store: redis.Redis,
) -> None:
    """``rotate`` seals everything with it and retires the other; the ring needs that no more."""  # K4
    connections = [make_connection(subject=f"user {number}") for number in range(3)]
    before = access_tokens(at_heart, *connections)
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", f"{KEY_2},{KEY}")
    rotated = cli("keys", "rotate", "--json")
    assert rotated.exit_code == 0
    assert rotated.json == {
        "writer": "k2", "made": None, "rewrapped": 6, "already": 0, "unreadable": [], "retired": ["k1"],
    }  # fmt: skip
    assert "rewrapping" in rotated.stderr
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", KEY_2)
    assert access_tokens(at_heart, *connections) == before
    assert naming(raw_store, "k1") == []
    again = cli("keys", "rotate")
    assert again.exit_code == 0
    assert re.search(r"sealed anew +0\nalready with it +6\n", again.stdout)


def test_status_shows_how_far_a_rotation_is(
    cli: Cli, make_connection: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch, raw_store: redis.Redis
) -> None:
    """Which keys the store knows, how many secrets are under each, and what is still to be done."""
    make_connection()
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", f"{KEY_2},{KEY}")
    waiting = cli("keys", "status")
    assert "To change over: broker keys rotate" in waiting.stderr
    # As a rotation leaves it that was killed once the key writes.
    fingerprint = cli("keys", "status", "--json").json["keys"][0]["fingerprint"]
    raw_store.hset(names.KEYRING, mapping={"kid:k2": fingerprint, "writer": "k2"})
    make_connection(subject="bob")
    halfway = cli("keys", "status", "--count", "--json").json
    assert (halfway["writer"], halfway["unfinished"], halfway["replicas"]) == ("k2", True, 0)
    seen = [(key["kid"], key["writes"], key["registered"], key["envelopes"]) for key in halfway["keys"]]
    assert seen == [("k2", True, True, 2), ("k1", False, True, 2)]
    assert "A rotation is not over" in cli("keys", "status").stderr
    assert cli("keys", "rotate").exit_code == 0
    done = cli("keys", "status", "--count", "--json").json
    assert (done["unfinished"], [key["registered"] for key in done["keys"]]) == (False, [True, False])
    assert [key["envelopes"] for key in done["keys"]] == [4, 0]


def test_status_counts_secrets_of_keys_that_the_ring_lacks(
    cli: Cli, make_connection: Callable[..., Connection], raw_store: redis.Redis
) -> None:
    """A key that was taken away too early is seen."""
    key = names.record(make_connection().id)
    sealed = raw_store.hget(key, "a")
    assert isinstance(sealed, bytes)
    raw_store.hset(key, "a", sealed.replace(b"k1", b"k0", 1))
    shown = cli("keys", "status", "--count", "--json").json["keys"]
    assert [(one["kid"], one["fingerprint"] is None, one["envelopes"]) for one in shown] == [
        ("k1", False, 1),
        ("k0", True, 1),
    ]
    assert "not in the ring" in cli("keys", "status", "--count").stdout


def test_what_cant_be_opened_ends_with_1(
    cli: Cli, make_connection: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch, raw_store: redis.Redis
) -> None:
    """It is named by its id, without a byte of it, and no key is retired."""  # K3
    broken = make_connection()
    key = names.record(broken.id)
    sealed = raw_store.hget(key, "s")
    assert isinstance(sealed, bytes)
    raw_store.hset(key, "s", sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", f"{KEY_2},{KEY}")
    rotated = cli("keys", "rotate", "--json")
    assert rotated.exit_code == 1
    assert rotated.json["unreadable"] == [{"id": broken.id, "what": "secrets", "key": "k1"}]
    assert (rotated.json["rewrapped"], rotated.json["retired"]) == (1, [])
    said = cli("keys", "rotate")
    assert said.exit_code == 1
    assert f"can't be opened: secrets of {broken.id}, sealed with k1" in said.stderr
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", KEY_2)
    assert cli("keys", "status").exit_code == 3


def test_a_store_that_is_away_ends_with_3_and_it_is_run_again(
    cli: Cli, make_connection: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the rewrapping the store is gone."""  # K5
    make_connection()
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", f"{KEY_2},{KEY}")

    async def away(*_: object) -> None:
        raise StoreUnavailable("the store can't be reached")

    with monkeypatch.context() as patched:
        patched.setattr("broker.vault.envelopes.Kind.replace", away)
        assert cli("keys", "rotate").exit_code == 3
    rotated = cli("keys", "rotate", "--json")
    assert (rotated.exit_code, rotated.json["rewrapped"], rotated.json["retired"]) == (0, 2, ["k1"])


@pytest.mark.parametrize(
    ("words", "counted"),
    [("refresh", 1), ("test", 1), ("delete", 1), ("show", 0)],
    ids=["refreshes", "may refresh", "queues what is to be revoked", "looks"],
)
def test_a_rotation_waits_for_a_command_that_may_store_secrets(
    cli: Cli,
    make_connection: Callable[..., Connection],
    monkeypatch: pytest.MonkeyPatch,
    raw_store: redis.Redis,
    words: str,
    counted: int,
) -> None:
    """It counts as living while it runs, and no longer."""  # K4
    connection, seen, read = make_connection(), list[int](), Records.read

    async def look(records: Records, connection_id: str) -> Connection | None:
        seen.append(int(str(raw_store.hlen(names.REPLICAS))))
        return await read(records, connection_id)

    monkeypatch.setattr(Records, "read", look)
    cli("connections", words, connection.id)
    assert seen
    assert set(seen) == {counted}
    assert raw_store.hlen(names.REPLICAS) == 0


def test_looking_writes_nothing(cli: Cli, make_connection: Callable[..., Connection], raw_store: redis.Redis) -> None:
    """``status``, also with ``--count``, leaves the store as it is, and no entry behind."""
    make_connection()
    before = snapshot(raw_store)
    cli("keys", "status", "--count")
    assert snapshot(raw_store) == before


def test_the_embedded_stores_key_is_made_and_takes_over_at_once_where_nothing_runs(
    cli: Cli, make_connection: Callable[..., Connection], at_heart: AtHeart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to be restarted: one command makes the key, and seals everything with it. The old key stays."""
    for name in ("BROKER_REDIS_URL", "BROKER_ENCRYPTION_KEYS"):
        monkeypatch.delenv(name)
    connection = make_connection()
    before = access_tokens(at_heart, connection)
    shown = cli("keys", "status", "--json").json
    rotated = cli("keys", "rotate", "--json").json
    assert rotated["made"] == rotated["writer"] != shown["writer"]
    assert (rotated["rewrapped"], rotated["retired"]) == (2, [shown["writer"]])
    path = Path(shown["source"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert [kid for kid, _ in parse_keys(path.read_text().strip())] == [rotated["made"], shown["writer"]]  # type: ignore[attr-defined]
    assert access_tokens(at_heart, connection) == before


def test_a_running_broker_has_to_read_the_new_key_first(
    run_here: Cli, logging_restored: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sandbox_url: str
) -> None:
    """With ``broker serve`` on the embedded store: made, refused until the restart, then taken over."""  # K4
    environ = broker_environment(tmp_path, {"PRACTICE": sandbox_url, "BROKER_DATA_DIR": str(tmp_path / "data")})
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    with broker_process(environ, quick=True):
        made = run_here("keys", "rotate")
        assert made.exit_code == 0
        assert "Restart broker serve" in made.stderr
        shown = run_here("keys", "status", "--json").json
        assert (shown["replicas"], shown["writer"]) == (1, shown["keys"][1]["kid"])
        assert [(key["held_by"], key["written_by"]) for key in shown["keys"]] == [(0, 0), (1, 1)]
        refused = run_here("keys", "rotate")
        assert refused.exit_code == 1
        assert "1 of the running broker processes lack it" in refused.stderr
    with broker_process(environ, quick=True):
        rotated = run_here("keys", "rotate", "--json")
        assert (rotated.exit_code, rotated.json["writer"]) == (0, shown["keys"][0]["kid"])
        assert rotated.json["made"] is None
        after = run_here("keys", "status", "--json").json
        assert [(key["held_by"], key["written_by"]) for key in after["keys"]] == [(1, 1), (1, 0)]

"""What measuring starts is apart from whatever broker the person who measures has."""

from pathlib import Path

import pytest
import redis

from bench.world import world
from bench.wrk import RoundFailed
from broker.vault.redis.embedded import EmbeddedStore


@pytest.mark.parametrize("place", ["shell", ".env"])
def test_measuring_leaves_the_operators_broker_alone(
    place: str, raw_store: redis.Redis, store_server: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings reach nothing that is started, nor the commands that are run on that."""
    theirs = {
        "BROKER_REDIS_URL": store_server.url,
        "BROKER_ENCRYPTION_KEYS": "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }
    if place == "shell":
        for name, text in theirs.items():
            monkeypatch.setenv(name, text)
    else:
        (tmp_path / ".env").write_text("".join(f"{name}={text}\n" for name, text in theirs.items()))
    monkeypatch.chdir(tmp_path)
    with world() as running:
        running.client()
        assert raw_store.dbsize() == 0
        assert running.data_dir.is_dir()


def test_a_command_that_fails_says_why() -> None:
    """In one sentence, as the run that it ends."""
    with (
        world() as running,
        pytest.raises(RoundFailed, match=r"^broker clients delete \S+ ended with 1: no such client$"),
    ):
        running.command("broker.cli.main", "clients", "delete", "cl_" + "0" * 22)

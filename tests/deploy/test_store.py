"""The compose file's store, run for real: its configuration, its users, and the secrets made for it."""

import base64
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotReachable
from redis.exceptions import NoPermissionError

from broker.vault.redis.server import find_program
from tests.deploy.conftest import MakeSecrets
from tests.waiting import until

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"


@pytest.fixture
def socket(tmp_path: Path, secrets: Path) -> Iterator[str]:
    """The store as composed, but on a socket; one more user may look at its configuration."""
    acl = secrets / "valkey_acl"
    acl.write_text(acl.read_text() + "user inspector on nopass -@all +config\n")
    path = tmp_path / "s"
    options = ["--dir", str(tmp_path), "--aclfile", str(acl), "--port", "0", "--unixsocket", str(path)]
    with subprocess.Popen([find_program(), DEPLOY / "valkey.conf", *options], stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: server.poll() is not None or answers(str(path)))
            assert server.poll() is None, "the store refused its configuration"
            yield str(path)
        finally:
            server.terminate()


def answers(path: str) -> bool:
    """Whether the health check would pass: a ping without a password is answered."""
    try:
        with Redis(unix_socket_path=path) as anyone:
            return bool(anyone.ping())
    except (NotReachable, FileNotFoundError):
        return False


def test_secrets_are_made_once(secrets: Path, make_secrets: MakeSecrets) -> None:
    """A second run changes nothing: overwriting the encryption key would lose every stored credential."""
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    again = make_secrets(secrets)
    assert again.returncode != 0
    assert "nothing was changed" in again.stderr
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before


def test_secrets_are_fresh_strong_and_private(secrets: Path, make_secrets: MakeSecrets, tmp_path: Path) -> None:
    """32 random bytes each, different every time, in a directory that only its owner may enter."""
    assert make_secrets(tmp_path / "others").returncode == 0
    keys, url = ((secrets / name).read_text().strip() for name in ("encryption_keys", "redis_url"))
    kid, _, key = keys.partition(":")
    assert kid == "k1"
    assert len(base64.b64decode(key, validate=True)) == 32
    assert len(bytes.fromhex(urlsplit(url).password or "")) == 32
    assert not {keys, url} & {path.read_text().strip() for path in (tmp_path / "others").iterdir()}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    # Each container reads its file as its own user, whom compose can't give it to.
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o644}


def test_an_answered_write_is_on_disk_and_nothing_is_evicted(socket: str) -> None:
    """The configuration that the broker's readiness asks for."""
    # R6
    with Redis(unix_socket_path=socket, username="inspector", password="", decode_responses=True) as inspector:
        found = inspector.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert found == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def test_without_the_password_one_can_only_ping(socket: str) -> None:
    """The health check needs no secret, and what it may do is of no use to anybody else."""
    with Redis(unix_socket_path=socket) as anyone:
        assert anyone.ping()
        for command in (("GET", "x"), ("SET", "x", "y"), ("INFO",), ("ACL", "LIST"), ("CONFIG", "GET", "*")):
            with pytest.raises(NoPermissionError):
                anyone.execute_command(*command)


def test_the_brokers_user_can_do_its_work_and_not_administer(socket: str, secrets: Path) -> None:
    """It reads, writes, runs scripts and reads INFO; it can't reconfigure, empty or stop the store."""
    url = urlsplit((secrets / "redis_url").read_text().strip())
    with Redis(unix_socket_path=socket, username=url.username, password=url.password) as broker:
        broker.execute_command("HSET", "x", "field", "value")
        script = broker.execute_command("SCRIPT", "LOAD", "return redis.call('HGET', KEYS[1], 'field')")
        assert broker.execute_command("EVALSHA", script, "1", "x") == b"value"
        assert broker.info("persistence")["aof_enabled"] == 1
        for command in (
            ("CONFIG", "SET", "appendonly", "no"),
            ("FLUSHALL",),
            ("SHUTDOWN", "NOSAVE"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(NoPermissionError):
                broker.execute_command(*command)
        assert broker.execute_command("EXISTS", "x") == 1

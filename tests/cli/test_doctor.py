"""``broker doctor``."""

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest
import redis

from broker.cli import diagnosis
from broker.errors import StoreUnavailable
from broker.vault.redis.pipeline import Pipeline
from tests.cli.conftest import Cli, Result
from tests.processes import broker_process


def found(result: Result) -> dict[str, str]:
    """The checks and how they came out."""
    return {check["name"]: check["status"] for check in result.json["checks"]}


def message(result: Result, name: str) -> str:
    """What a check said."""
    return " ".join(check["message"] for check in result.json["checks"] if check["name"] == name)


def test_a_sound_set_up_passes(cli: Cli) -> None:
    """Nothing fails, exit 0; what is missing is a warning that says what to set and what to register."""
    result = cli("doctor", "--json")
    assert result.exit_code == 0
    assert result.json["ok"] is True
    checks = found(result)
    providers = {name: checks.pop(name) for name in list(checks) if name.startswith("provider ")}
    assert [providers.pop(f"provider {name}") for name in ("unconfigured", "practice-app")] == ["warn", "warn"]
    assert providers["provider practice"] == "ok"
    assert set(providers.values()) == {"ok"}
    assert checks == {
        "settings": "ok",
        "providers file": "ok",
        "public address": "ok",
        "data directory": "ok",
        "events sink": "ok",
        "store": "ok",
        "encryption keys": "ok",
        "store memory": "warn",
        "time": "ok",
        "running broker": "ok",
    }
    text = cli("doctor").stdout
    assert "lacks NOT_SET_ANYWHERE" in text
    assert "/callback/unconfigured" in text
    assert "broker serve" in text


def test_providers_that_nobody_set_up_take_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They come last and together; one that is set up by half keeps its warning, and ``--json`` has every one."""
    entry = "  {0}:\n    extends: base\n    client_id: ${{{1}_ID}}\n    client_secret: ${{{1}_SECRET}}\n"
    endpoints = (
        "    authorization_endpoint: https://provider.example/a\n    token_endpoint: https://provider.example/t\n"
    )
    base = f"providers:\n  base:\n    display_name: Base\n{endpoints}    type: oauth2\n"
    entries = (entry.format(name, name.upper()) for name in ("one", "two", "half"))
    (tmp_path / "some.yaml").write_text(f"{base}    client_id: x\n    client_secret: y\n{''.join(entries)}")
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", "some.yaml")
    monkeypatch.setenv("HALF_ID", "set")
    lines = cli("doctor").stdout.splitlines()
    assert lines[-1] == "not set up: one, two (broker providers list says what each needs)"
    assert not any("provider one" in line or "provider two" in line for line in lines)
    half = lines.index("warn  provider half: lacks HALF_SECRET")
    assert half > next(n for n, line in enumerate(lines) if "running broker" in line)
    result = found(cli("doctor", "--json"))
    assert [result[f"provider {name}"] for name in ("base", "one", "two", "half")] == ["ok", "warn", "warn", "warn"]


def test_a_key_that_the_entry_lacks_is_advised_to_be_written_there(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No variable is named for it, so none can be set; what the entry takes from a variable is set there."""
    (tmp_path / "some.yaml").write_text("""\
providers:
  bare: {display_name: Bare, issuer: https://p.example, client_secret: x}
  named: {display_name: Named, issuer: https://p.example, client_secret: x, client_id: "${P_ID}"}
""")
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", "some.yaml")
    advice = {check["name"]: check["advice"] for check in cli("doctor", "--json").json["checks"]}
    assert advice["provider bare"].startswith("write it into its entry in some.yaml, and restart the broker")
    assert advice["provider named"].startswith("set it in the environment or in .env, and restart the broker")


def test_a_discovered_provider_is_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch, sandbox: httpx2.Client) -> None:
    """One whose metadata can't be used is a failure that says what was found, and where the address is written."""
    asked = str(sandbox.base_url).rstrip("/").replace("127.0.0.1", "localhost")
    monkeypatch.setenv("PRACTICE", asked)
    result = cli("doctor", "--json")
    assert (result.exit_code, found(result)["provider practice"]) == (1, "fail")
    named = str(sandbox.base_url).rstrip("/")
    said = f"names another issuer than the one that was asked: {named}, and not {asked}"
    assert said in message(result, "provider practice")
    (advice,) = [check["advice"] for check in result.json["checks"] if check["name"] == "provider practice"]
    assert f"providers.yaml: {asked}" in advice


def test_a_provider_that_does_not_answer_now_is_a_warning(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be back in a minute; the address and the cause are named."""
    monkeypatch.setenv("PRACTICE", "http://127.0.0.1:1")
    result = cli("doctor", "--json")
    assert (result.exit_code, found(result)["provider practice"]) == (0, "warn")
    assert "127.0.0.1 can't be reached: the connection was refused" in message(result, "provider practice")


def test_faulty_settings_are_all_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every faulty setting is a failure of its own; nothing else is tried."""
    monkeypatch.setenv("BROKER_WORKERS", "none")
    monkeypatch.setenv("BROKER_PUBLIC_URL", "http://broker.example")
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    assert [check["status"] for check in result.json["checks"]] == ["fail", "fail"]


def test_a_faulty_providers_file_hides_nothing_else(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its faults are told by line, and the store is still looked at."""
    (tmp_path / "faulty.yaml").write_text("providers:\n  one: {display_name: One}\n")
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", "faulty.yaml")
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    assert found(result)["providers file"] == "fail"
    assert "faulty.yaml:2" in message(result, "providers file")
    assert found(result)["store"] == "ok"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://canary-user:canary-password@127.0.0.1:1/0?password=canary-password", "127.0.0.1:1"),
        ("unix://canary-user:canary-password@/nowhere/redis.sock?password=canary-password", "/nowhere/redis.sock"),
    ],
)
def test_an_unreachable_store_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str, place: str) -> None:
    """A store that nobody can reach is a failure that says where it should be, without its password."""  # K1
    monkeypatch.setenv("BROKER_REDIS_URL", url)
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    assert found(result)["store"] == "fail"
    assert "encryption keys" not in found(result)
    (advice,) = [check["advice"] for check in result.json["checks"] if check["name"] == "store"]
    assert advice.startswith(f"expected at {place}: start it there")
    assert "canary" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("url", "message", "advice"),
    [
        (
            "redis+sentinel://canary-user:canary-password@127.0.0.1:1,127.0.0.1:2/tokens?sentinel_password=canary",
            "no sentinel can be reached",
            "found through the sentinels 127.0.0.1:1, 127.0.0.1:2: see which primary they name for tokens",
        ),
        (
            "redis+cluster://canary-user:canary-password@127.0.0.1:1,127.0.0.1:2",
            "no node of the Cluster can be reached",
            "expected at the Cluster nodes 127.0.0.1:1, 127.0.0.1:2: start it there",
        ),
    ],
)
def test_where_many_servers_are_expected_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str, message: str, advice: str
) -> None:
    """Sentinels and Cluster nodes are listed, without passwords."""  # K1
    monkeypatch.setenv("BROKER_REDIS_URL", url)
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    (check,) = [check for check in result.json["checks"] if check["name"] == "store"]
    assert check["message"] == message
    assert check["advice"].startswith(advice)
    assert "canary" not in result.stdout + result.stderr


def test_a_keyring_that_does_not_fit_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other keys than the store knows, the store check fails and names the missing key."""  # K6
    cli("doctor")
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", cli("keys", "generate", "--kid", "k2").stdout.strip())
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    assert "'k1'" in message(result, "store")


def test_an_open_data_directory_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of somebody else's files that others can enter is refused, and left as it is."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "file").touch()
    monkeypatch.delenv("BROKER_REDIS_URL")
    monkeypatch.setenv("BROKER_DATA_DIR", str(shared))
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    assert found(result)["data directory"] == "fail"
    assert [path.name for path in shared.iterdir()] == ["file"]


@pytest.fixture
def data_dir(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the embedded store, which is configured instead, would be. It is not there yet."""
    monkeypatch.delenv("BROKER_REDIS_URL")
    monkeypatch.delenv("BROKER_ENCRYPTION_KEYS")
    folder = Path(os.environ["BROKER_DATA_DIR"])
    assert not folder.exists()
    return folder


def test_a_check_makes_nothing(cli: Cli, data_dir: Path) -> None:
    """Without a data directory nothing fails and none is made; what ``serve`` will do is said."""
    result = cli("doctor", "--json")
    assert (result.exit_code, found(result)["data directory"], found(result)["store"]) == (0, "ok", "ok")
    assert not data_dir.exists()


def test_a_check_leaves_a_folder_as_it_is(cli: Cli, data_dir: Path) -> None:
    """An open one is a warning; it is neither closed nor filled."""
    data_dir.mkdir()
    data_dir.chmod(0o755)
    result = cli("doctor", "--json")
    assert (result.exit_code, found(result)["data directory"]) == (0, "warn")
    assert data_dir.stat().st_mode & 0o777 == 0o755
    assert list(data_dir.iterdir()) == []


def test_a_store_that_is_there_is_looked_at(cli: Cli, data_dir: Path) -> None:
    """With its keys, unless others can enter its folder: opening the store would close that."""
    cli("clients", "list")
    assert found(cli("doctor", "--json"))["encryption keys"] == "ok"
    data_dir.chmod(0o755)
    result = found(cli("doctor", "--json"))
    assert (result["data directory"], result["store"]) == ("warn", "warn")
    assert data_dir.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("limit", "status", "said"),
    [
        (lambda _: 0, "warn", "no limit set"),
        (lambda used: 10 * used, "ok", "used"),
        (lambda used: used * 10 // 9, "warn", "used"),
        (lambda used: used // 2, "fail", "no token can be released"),
    ],
    ids=["unlimited", "roomy", "nearly full", "full"],
)
def test_a_store_that_fills_up_is_told_before_it_is_full(
    cli: Cli, raw_store: redis.Redis, limit: Callable[[int], int], status: str, said: str
) -> None:
    """A full one releases nothing, and one without a limit may be ended by its machine."""
    assert cli("doctor").exit_code == 0  # from here on its keyring is known
    raw_store.config_set("maxmemory", limit(int(raw_store.info("memory")["used_memory"])))
    try:
        result = cli("doctor", "--json")
    finally:
        raw_store.config_set("maxmemory", 0)
    assert (found(result)["store memory"], said in message(result, "store memory")) == (status, True)


def test_a_store_that_goes_while_it_is_looked_at_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was fit a moment ago, and now it doesn't say how full it is."""

    async def fit(*_: object, **__: object) -> list[str]:
        return []

    async def gone(_: Pipeline) -> dict[str, StoreUnavailable]:
        return {"": StoreUnavailable("the store went away")}

    monkeypatch.setattr(diagnosis, "reasons_not_ready", fit)
    monkeypatch.setattr(Pipeline, "infos", gone)
    result = cli("doctor", "--json")
    assert (found(result)["store"], message(result, "store")) == ("fail", "the store went away")


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({"BROKER_PUBLIC_URL": "https://broker.example"}, "ok"),
        ({"BROKER_PUBLIC_URL": "http://localhost:9"}, "warn"),
        ({"BROKER_HOST": "0.0.0.0"}, "warn"),  # noqa: S104 - what an operator may have written
    ],
)
def test_the_public_url_is_compared_with_where_it_listens(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], status: str
) -> None:
    """A loopback URL that leads elsewhere, or that others can't use, is a warning; a proxied one is fine."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert found(cli("doctor", "--json"))["public address"] == status


@contextmanager
def stranger(port: int) -> Iterator[None]:
    """A web server on ``port`` that isn't a broker."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002 - the base class's name
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield
        server.shutdown()


def test_what_listens_at_the_port_is_told_apart(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, sandbox_url: str, tmp_path: Path
) -> None:
    """A running broker is fine; another web server, or a program that says nothing, is a failure."""
    with broker_process({"PRACTICE": sandbox_url, "BROKER_DATA_DIR": str(tmp_path / "data")}) as url:
        port = url.rpartition(":")[2]
        monkeypatch.setenv("BROKER_PORT", port)
        result = cli("doctor", "--json")
        assert "is ready" in message(result, "running broker")
        assert "when it is restarted" in result.stdout
    with stranger(int(port)):
        result = cli("doctor", "--json")
        assert (result.exit_code, found(result)["running broker"]) == (1, "fail")
        assert "not a broker" in message(result, "running broker")
    with socket.create_server(("127.0.0.1", int(port))) as mute, ThreadPoolExecutor(1) as pool:

        def hang_up() -> None:
            mute.accept()[0].close()

        pool.submit(hang_up)
        result = cli("doctor", "--json")
        assert (result.exit_code, found(result)["running broker"]) == (1, "fail")
        assert "can't be listened on" in message(result, "running broker")


def test_an_events_sink_that_cant_take_lines_is_a_warning(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With why; a pipe that nobody reads hangs nobody. Tokens are served without it, so it fails nothing."""
    pipe = tmp_path / "collector"
    os.mkfifo(pipe)
    monkeypatch.setenv("BROKER_EVENTS_SINK", f"file:{pipe}")
    result = cli("doctor", "--json")
    assert (result.exit_code, found(result)["events sink"]) == (0, "warn")
    assert message(result, "events sink") == f"file:{pipe} can't be written: nobody reads it"
    monkeypatch.setenv("BROKER_EVENTS_SINK", f"file:{tmp_path}/events.jsonl")
    assert found(cli("doctor", "--json"))["events sink"] == "ok"

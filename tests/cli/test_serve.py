"""``broker serve``: what it says when it is ready, and when it can't be."""

import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2

from tests.cli.conftest import KEY
from tests.processes import broker_environment, broker_process, free_port
from tests.vault.servers import valkey


def serve(environ: Mapping[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """``broker serve`` that is expected to end by itself."""
    command = [sys.executable, "-m", "broker.cli.main", "serve"]
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_it_greets_when_every_worker_serves(tmp_path: Path, sandbox_url: str) -> None:
    """One line on stderr says where it is, with how many workers and which store, and what is missing."""
    log = tmp_path / "log"
    environ = broker_environment(tmp_path, {"PRACTICE": sandbox_url, "BROKER_WORKERS": "1"})
    with broker_process(environ, "--workers", "2", log=log) as url:
        assert httpx2.get(f"{url}/livez", trust_env=False).json() == {"status": "alive"}
    (greeting,) = [line for line in log.read_text().splitlines() if line.startswith("broker ready")]
    assert f"at {url} (2 workers, embedded store in {tmp_path / 'data'})" in greeting
    assert "providers ready: practice, practice-" in greeting
    assert "2 lacking settings, see: broker providers list" in greeting


def test_a_store_that_cannot_be_reached_is_said_and_so_is_its_return(tmp_path: Path, sandbox_url: str) -> None:
    """It says that it listens, is not ready, and why; once the store is there it says that it is ready."""
    port = free_port()
    store = {"BROKER_REDIS_URL": f"redis://127.0.0.1:{port}", "BROKER_ENCRYPTION_KEYS": KEY}
    environ = broker_environment(tmp_path, {"PRACTICE": sandbox_url, **store})
    command = [sys.executable, "-m", "broker.cli.main", "serve"]
    with subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = next(line for line in process.stderr if line.startswith("broker "))
            place = f"http://localhost:{environ['BROKER_PORT']}"
            assert said.startswith(f"broker listening at {place} (1 worker, external store), not ready: ")
            assert "can't be reached" in said
            # Whoever asks /readyz reads the same.
            asked = httpx2.get(f"{place}/readyz", trust_env=False)
            assert (asked.status_code, asked.json()["reasons"]) == (503, [said.strip().partition("not ready: ")[2]])
            with valkey("--bind", "127.0.0.1", "--appendonly", "yes", port=port):
                said = next(line for line in process.stderr if line.startswith("broker "))
                assert said.startswith(f"broker ready at {place}")
        finally:
            process.send_signal(signal.SIGTERM)


def test_a_faulty_providers_file_is_told_once_and_nothing_starts(tmp_path: Path) -> None:
    """Each fault is one line whatever the number of workers, the exit code is 2, no store and no keys are made."""
    providers = tmp_path / "providers.yaml"
    providers.write_text("providers:\n  one: {display_name: One, colour: red}\n  two: {display_name: Two}\n")
    environ = broker_environment(tmp_path, {"BROKER_PROVIDERS_FILE": str(providers), "BROKER_WORKERS": "3"})
    ended = serve(environ, tmp_path)
    assert ended.returncode == 2
    faults = ended.stderr.splitlines()
    assert len(faults) == len(set(faults))
    assert any("colour" in fault and f"{providers}:2" in fault for fault in faults), faults
    assert not (tmp_path / "data").exists()


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """Where another program listens, ``serve`` ends with 2 and says so."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = serve(broker_environment(tmp_path, {"BROKER_PORT": port}), tmp_path)
    assert ended.returncode == 2
    fault = f"BROKER_HOST, BROKER_PORT: can't listen on 127.0.0.1:{port}: another program listens there"
    assert ended.stderr == f"{fault}; end it, or choose another BROKER_PORT\n"


def test_a_second_broker_is_told_of_the_first(tmp_path: Path, sandbox_url: str) -> None:
    """What listens there already is a broker itself, and it says so."""
    with broker_process({"PRACTICE": sandbox_url}) as url:
        port = url.rpartition(":")[2]
        ended = serve(broker_environment(tmp_path, {"BROKER_PORT": port}), tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.endswith("a broker runs there already; end it, or choose another BROKER_PORT\n")

"""The client that ``broker connect`` is: made once for each broker, sent to no other, and none is left over."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.terminal import Terminal, terminal

__all__ = ["terminal"]


@contextmanager
def foreign_broker() -> Iterator[tuple[str, list[str]]]:
    """What looks like a broker and knows nobody; yields its address and the clients that tried to sign in."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, b'{"status": "ready"}')

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            heard.append(base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode())
            self._answer(401, b'{"error": "invalid_client"}')

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()


def test_its_own_client_can_do_little_and_is_made_once(terminal: Terminal) -> None:
    """It has three scopes and a return address of this machine; its secret stays in a file of this user alone."""
    for _ in range(2):
        assert terminal.run("connect", "practice").returncode == 0
    (client,) = terminal.clients()
    assert client["name"] == "broker connect"
    assert client["scope"] == "connect connections:read tokens:read"
    assert client["return_urls"] == ["http://127.0.0.1/callback"]
    assert terminal.kept().stat().st_mode & 0o777 == 0o600
    (kept,) = json.loads(terminal.kept().read_text()).items()
    assert (kept[0], kept[1]["client_id"]) == (terminal.running.url, client["client_id"])


def test_a_client_that_the_broker_forgot_is_made_again(terminal: Terminal) -> None:
    """After its client was deleted, the command makes another one; a broken file counts as none."""
    terminal.run("connect", "practice")
    (first,) = terminal.clients()
    terminal.json("clients", "delete", first["client_id"])
    assert terminal.run("connect", "practice").returncode == 0
    (second,) = terminal.clients()
    assert second["client_id"] != first["client_id"]
    terminal.kept().write_text("[]")
    assert terminal.run("connect", "practice").returncode == 0
    assert len(terminal.clients()) == 2


def test_a_client_of_the_developers_own_is_used_instead(terminal: Terminal) -> None:
    """With BROKER_CLIENT_ID and BROKER_CLIENT_SECRET no client is made; one without the other is a fault."""
    own = terminal.json("clients", "create", "mine", "--scope", "connect", "--return-url", "http://127.0.0.1/callback")
    variables = {"BROKER_CLIENT_ID": own["client_id"], "BROKER_CLIENT_SECRET": own["client_secret"]}
    assert terminal.run("connect", "practice", **variables).returncode == 0
    assert [client["name"] for client in terminal.clients()] == ["mine"]
    assert not terminal.kept().exists()
    half = terminal.run("connect", "practice", BROKER_CLIENT_ID=own["client_id"])
    assert half.returncode == 2
    wrong = terminal.run("connect", "practice", **{**variables, "BROKER_CLIENT_SECRET": "canary-secret"})
    assert wrong.returncode == 1
    assert "canary-secret" not in wrong.stderr


def test_a_broker_with_another_store_is_told_apart(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the broker at BROKER_URL doesn't know this machine's clients, it says which variables to set; the client
    that was made to try is removed again."""
    elsewhere = {"BROKER_DATA_DIR": str(tmp_path / "other"), "BROKER_URL": terminal.running.url}
    result = terminal.run("connect", "practice", **elsewhere)
    assert result.returncode == 2
    assert "BROKER_CLIENT_ID" in result.stderr
    assert terminal.clients() == []
    assert not (tmp_path / "other" / "connect-client.json").exists()
    with monkeypatch.context() as there:
        there.setenv("BROKER_DATA_DIR", elsewhere["BROKER_DATA_DIR"])
        assert terminal.clients() == []


def test_a_remembered_client_goes_to_no_other_broker(terminal: Terminal, tmp_path: Path) -> None:
    """BROKER_URL names somebody else: no secret of this broker's clients is sent there, be it made or kept."""
    assert terminal.run("connect", "practice").returncode == 0
    kept = terminal.kept().read_text()
    (client,) = terminal.clients()
    with foreign_broker() as (url, heard):
        result = terminal.run("connect", "practice", BROKER_URL=url)
    assert (result.returncode, "BROKER_CLIENT_ID" in result.stderr) == (2, True)
    assert heard == []
    assert terminal.kept().read_text() == kept
    assert terminal.clients() == [client]
    assert terminal.run("connect", "practice").returncode == 0

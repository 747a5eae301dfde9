"""What is revoked stops working on every worker, with nobody telling them: as over the wire, in real processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.processes import broker_environment, broker_process
from tests.waiting import until

_CONNECTIONS = 8
"""So many that each of two workers has accepted some."""
_REST = 0.5
"""Seconds between two looks: who is refused too often is told to wait (429)."""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> dict[str, str]:
    """The variables of a broker with two workers, and of commands beside it."""
    return broker_environment(tmp_path_factory.mktemp("revoking"), {"PRACTICE": sandbox_url, "BROKER_WORKERS": "2"})


@pytest.fixture(scope="module")
def url(environ: dict[str, str]) -> Iterator[str]:
    """Where it is."""
    with broker_process(environ) as url:
        yield url


def _clients(environ: dict[str, str], *words: str) -> dict[str, str]:
    command = [sys.executable, "-m", "broker.cli.main", "clients", *words, "--json"]
    printed: dict[str, str] = json.loads(subprocess.check_output(command, env=environ, cwd=Path("/")))
    return printed


@pytest.mark.parametrize("what", ["the token", "the client"])
def test_it_is_refused_everywhere_within_seconds(environ: dict[str, str], url: str, what: str) -> None:
    """A token that all workers have in use: revoked at one of them, or its client deleted by the operator."""  # S13
    client = _clients(environ, "create", "app", "--scope", "connections:read")
    auth = (client["client_id"], client["client_secret"])
    with _many(url) as wires:
        issued = wires[0].post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth).json()
        headers = {"Authorization": f"Bearer {issued['access_token']}"}

        def statuses() -> set[int]:
            return {wire.get("/v1/connections", headers=headers).status_code for wire in wires}

        assert statuses() == {200}
        if what == "the token":
            wires[0].post("/oauth/revoke", data={"token": issued["access_token"]}, auth=auth).raise_for_status()
        else:
            _clients(environ, "delete", client["client_id"], "--yes")
        until(lambda: statuses() == {401}, every=_REST)


@pytest.mark.parametrize("what", ["deleted", "given another secret"])
def test_a_secret_is_refused_everywhere_within_seconds(environ: dict[str, str], url: str, what: str) -> None:
    """One that all workers know, for it was just shown: its client is deleted, or it may have leaked."""  # S13
    client = _clients(environ, "create", "app", "--scope", "references:redeem")
    auth = (client["client_id"], client["client_secret"])
    with _many(url) as wires:

        def statuses() -> set[int]:
            return {wire.post("/oauth/introspect", data={"token": "x"}, auth=auth).status_code for wire in wires}

        assert statuses() == {200}
        if what == "deleted":
            _clients(environ, "delete", client["client_id"], "--yes")
        else:
            renewed = _clients(environ, "rotate", client["client_id"], "--overlap", "0")
        until(lambda: statuses() == {401}, every=_REST)
        if what == "given another secret":
            auth = (client["client_id"], renewed["client_secret"])
            assert statuses() == {200}


@contextmanager
def _many(url: str) -> Iterator[list[httpx2.Client]]:
    """Connections to the broker, among which each worker has some."""
    with ExitStack() as stack:
        yield [stack.enter_context(httpx2.Client(base_url=url, trust_env=False)) for _ in range(_CONNECTIONS)]

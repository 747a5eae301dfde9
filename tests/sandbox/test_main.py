"""The command: what it prints, what it refuses, how it ends."""

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.processes import sandbox_process
from tests.sandbox.app import CREDENTIALS, App, answer
from tests.waiting import until

COMMAND = [sys.executable, "-m", "broker.sandbox"]
ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("host", ["::", "192.0.2.1", "practice.example", ""])
def test_it_listens_on_loopback_only(host: str) -> None:
    """Any other host is refused with a message and status 2, and nothing is announced."""
    ended = run("--host", host)
    assert ended.returncode == 2
    assert "loopback" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("flag", "value", "named"),
    [("--rotation", "sometimes", "--rotation"), ("--access-token-ttl", "0", "access_token_ttl")],
)
def test_a_wrong_flag_is_named(flag: str, value: str, named: str) -> None:
    """Status 2 and the flag's name."""
    ended = run(flag, value)
    assert ended.returncode == 2
    assert named in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_announces_itself_once_and_ends_cleanly(number: signal.Signals) -> None:
    """One JSON line on stdout, requests work from then on, a signal ends it with status 0.

    Nothing that passed through it, code or token, is on its output.
    """
    with subprocess.Popen(
        [*COMMAND, "--auto-consent"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            announced = json.loads(process.stdout.readline())
            assert announced["issuer"] == announced["base_url"]
            with httpx2.Client(base_url=announced["base_url"], trust_env=False) as http:
                app = App(http)
                assert app.redeem(answer(app.authorize())["code"]).status_code == 200
            process.send_signal(number)
            said = process.communicate(timeout=60)
            assert process.returncode == 0
        finally:
            process.kill()
    assert said == ("", "")  # K1


def test_what_is_held_is_let_go_at_the_end() -> None:
    """A provider that is told to end answers who waits, then ends cleanly."""
    with ThreadPoolExecutor(1) as pool, httpx2.Client(trust_env=False) as http:
        with sandbox_process() as url:
            http.base_url = httpx2.URL(url)
            app = App(http)
            app.control(hold_token_answers=True)
            waiting = pool.submit(app.token, {"grant_type": "client_credentials"})
            until(lambda: app.counters()["token_waiting"] == 1)
        # It has ended by now, and what was held was not dropped for it.
        assert waiting.result().status_code == 200


def test_flags_set_client_and_behaviour() -> None:
    """The given client authenticates, the default one doesn't; life time and rotation are as told."""
    flags = ("--client-id", "my app", "--client-secret", "s:e c%r+t", "--access-token-ttl", "9")
    with (
        sandbox_process(*flags, "--rotation", "strict", "--token-fault", "busy", "--faults-left", "1") as url,
        httpx2.Client(base_url=url, trust_env=False) as http,
    ):
        app, form = App(http), {"grant_type": "client_credentials"}
        assert app.token(form).status_code == 429
        # RFC 6749 §2.3.1: id and secret are form-encoded inside the Basic header.
        assert app.token(form, auth=("my+app", "s%3Ae+c%25r%2Bt")).json()["expires_in"] == 9
        assert app.token(form, auth=CREDENTIALS).status_code == 401
        assert http.post("/control", json={}).json()["rotation"] == "strict"
        # What it started with comes back, the used-up fault too.
        assert http.post("/control", json={"rotation": "none", "reset": True}).json()["rotation"] == "none"
        assert http.post("/control", json={"reset": True}).json()["rotation"] == "strict"
        assert app.token(form).status_code == 429


def test_flags_set_how_long_a_device_waits() -> None:
    """The life of its codes, and the pause between its polls."""
    flags = ("--device-code-ttl", "7", "--device-interval", "2")
    with sandbox_process(*flags) as url, httpx2.Client(base_url=url, trust_env=False) as http:
        form = {"client_id": "practice-client", "client_secret": "practice-secret"}
        codes = http.post("/device_authorization", data=form).raise_for_status().json()
    assert (codes["expires_in"], codes["interval"]) == (7, 2)


def test_help_says_only_defaults_that_mean_something() -> None:
    """A number or a name; a switch has none, and neither has what may be left out."""
    text = " ".join(run("--help").stdout.split())
    assert "seconds between polls (default: 5)" in text
    assert not {"(default: True)", "(default: False)", "(default: None)", "(default: [])"} & set(
        re.findall(r"\(default: [^)]*\)", text)
    )


def test_a_port_that_is_taken_is_said_plainly() -> None:
    """Status 1 and the address, no traceback."""
    with sandbox_process() as url:
        port = url.rpartition(":")[2]
        ended = run("--port", port)
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr

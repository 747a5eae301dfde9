"""The image: unprivileged, pinned, nothing secret inside, and a health check that tells the truth."""

import fnmatch
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from broker.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (keyword, arguments), with comments dropped and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(keyword.upper(), arguments.strip()) for keyword, _, arguments in (line.partition(" ") for line in lines)]


def final_stage() -> list[tuple[str, str]]:
    """What makes up the image that is shipped."""
    every = instructions()
    last = max(index for index, (keyword, _) in enumerate(every) if keyword == "FROM")
    return every[last:]


def only(keyword: str) -> str:
    """The arguments of an instruction that the final stage has exactly once."""
    (arguments,) = [arguments for name, arguments in final_stage() if name == keyword]
    return arguments


def test_every_base_is_pinned_by_tag() -> None:
    """A build tomorrow starts from the same version of everything."""
    bases = [arguments.split()[0] for keyword, arguments in instructions() if keyword == "FROM"]
    assert len(bases) > 1
    for base in bases:
        assert re.fullmatch(r"[\w/.-]+:\d[\w.-]+", base), base


def test_the_shipped_image_has_no_privileges() -> None:
    """It ends as a numeric user other than root, so an orchestrator can see that, and stays that user."""
    users = [arguments for keyword, arguments in final_stage() if keyword == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_commands_run_without_a_shell() -> None:
    """Signals reach the broker itself, and arguments are appended to it."""
    assert json.loads(only("ENTRYPOINT")) == ["broker"]
    assert json.loads(only("CMD")) == ["serve"]


def test_dependencies_come_from_the_locks_only() -> None:
    """Every install checks hashes or has neither dependencies nor an index."""
    runs = " && ".join(arguments for keyword, arguments in instructions() if keyword == "RUN")
    installs = [part for part in runs.split("&&") if re.search(r"\bpip\b.*\b(install|wheel)\b", part)]
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-deps" in install, install
    assert "ADD" not in {keyword for keyword, _ in instructions()}


def test_only_what_is_needed_is_copied_and_reaches_the_build() -> None:
    """What is copied exists and is let in by .dockerignore, which lets nothing else in."""
    ignored, *admitted = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    copied = {
        source
        for keyword, arguments in instructions()
        if keyword == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    assert ignored == "*"
    assert {line.removeprefix("!") for line in admitted if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
    assert not any(fnmatch.fnmatch(source, "*secret*") for source in copied)


def test_the_environment_holds_settings_and_no_secret() -> None:
    """Every BROKER_ variable of the image is a setting, and none of them is one that holds a secret."""
    names = re.findall(r"\b([A-Z_]+)=", only("ENV"))
    settings = {name.removeprefix("BROKER_").lower() for name in names if name.startswith("BROKER_")}
    assert settings
    assert settings <= set(Settings.model_fields)
    assert not any(re.search("SECRET|PASSWORD|TOKEN|KEY|REDIS", name) for name in names)
    assert "ARG" not in {keyword for keyword, _ in instructions()}


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server whose /livez answers with ``status``; yields its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def health(port: int) -> int:
    """Runs the image's own health check against ``port``; returns its exit status."""
    _, _, command = only("HEALTHCHECK").partition("CMD ")
    program, *arguments = json.loads(command)
    assert program == "python"
    environment = os.environ | {"BROKER_PORT": str(port)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_says_what_livez_says(status: int, healthy: bool) -> None:
    """Run for real against a server: healthy on 200 alone."""
    with answering(status) as port:
        assert (health(port) == 0) is healthy


def test_the_health_check_fails_when_nothing_listens() -> None:
    """A broker that is gone is not healthy."""
    with answering(200) as port:
        pass
    assert health(port) != 0

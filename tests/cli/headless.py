"""A machine with no screen, with a home of its own, and a person with a browser somewhere else."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2

from broker.cli.credentials import Credentials, Login, Tokens
from broker.cli.os_keyring import OsKeyring

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "broker.cli.main")
GIT_HOST = "git.practice.example"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True)
class Home:
    """A user's home folder on a machine that is not the broker's: neither its settings nor its store are there."""

    path: Path
    variables: Mapping[str, str]

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a command there."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
            **self.variables,
            # The developer's own logins and keyring are none of the test's, whatever else comes from that machine.
            "HOME": str(self.path),
            "XDG_CONFIG_HOME": "",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }

    @property
    def logins(self) -> Path:
        """Where its logins stand."""
        return self.path / ".config" / "broker" / "logins.json"

    def kept(self) -> list[dict[str, Any]]:
        """Its logins, with their secrets."""
        logins: list[dict[str, Any]] = json.loads(self.logins.read_text())["logins"]
        return logins

    def change(self, **fields: Any) -> None:
        """Change what is kept of its newest login; of its ``tokens`` only those that are given, or none are left."""
        document = json.loads(self.logins.read_text())
        first = document["logins"][0]
        if fields.get("tokens"):
            fields["tokens"] = first["tokens"] | fields["tokens"]
        first |= fields
        self.logins.write_text(json.dumps(document))

    def start(self, *words: str, **variables: str) -> "subprocess.Popen[str]":
        """Start a command."""
        return subprocess.Popen(
            [*COMMAND, *words],
            env={**self.environ, **variables},
            cwd=self.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, says: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, with ``says`` on its stdin."""
        with self.start(*words, **variables) as process:
            try:
                stdout, stderr = process.communicate(says, timeout=60)
            finally:
                process.kill()
        assert "Traceback" not in stderr, stderr
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def given(self, url: str, client_id: str, **fields: Any) -> Login:
        """A login that is simply there: ``broker login`` itself takes its time."""
        wish = {"client_id": client_id, "provider": fields.get("provider", "practice"), "device_name": "box"}
        with httpx2.Client(base_url=url, trust_env=False) as http:
            codes = http.post("/oauth/device_authorization", data=wish).raise_for_status().json()
            approve(codes["verification_uri_complete"], account=fields.get("account", "alice@practice.example"))
            grant = {"grant_type": GRANT_TYPE, "client_id": client_id, "device_code": codes["device_code"]}
            body = http.post("/oauth/token", data=grant).raise_for_status().json()
        known = {"provider": "practice", "account": "alice@practice.example"}
        login = Login(
            url=url,
            connection_id=body["connection_id"],
            client_id=client_id,
            confidential=False,
            scope=body["scope"],
            logged_in_at=time.time(),
            git_username="x-access-token",
            **{"git_hosts": (GIT_HOST,), **known, **fields},
        )
        tokens = Tokens(body["refresh_token"], body["access_token"], time.time() + body["expires_in"])
        Credentials(self.logins.parent, OsKeyring(lambda: None)).keep(login, tokens)
        return login

    @contextmanager
    def logging_in(self, *words: str, **variables: str) -> Iterator[tuple[dict[str, Any], "subprocess.Popen[str]"]]:
        """``broker login … --json``, running; yields the codes."""
        with self.start("login", *words, "--json", **variables) as process:
            try:
                line = line_of(process.stdout)
                assert line, process.communicate(timeout=60)
                yield json.loads(line), process
            finally:
                process.kill()

    def log_in(self, *words: str, account: str = "alice@practice.example", **variables: str) -> dict[str, Any]:
        """``broker login`` with somebody who approves; answers the login."""
        with self.logging_in(*words, **variables) as (codes, process):
            approve(codes["verification_uri_complete"], account=account)
            stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        login: dict[str, Any] = json.loads(stdout)
        return login


def line_of(stream: IO[str] | None) -> str:
    """The next line of a process."""
    assert stream is not None
    return stream.readline()


def approve(link: str, *, account: str = "alice@practice.example", decision: str = "allow") -> str:
    """Approve on the broker's page and answer at the provider; the text of the page at the end."""
    broker, _, code = link.partition("/device?user_code=")
    with httpx2.Client(trust_env=False, timeout=60) as browser:
        browser.get(link).raise_for_status()
        form = {"user_code": code, "decision": "approve"}
        left = browser.post(f"{broker}/device", data=form, headers={"Origin": broker})
        consent = browser.get(left.headers["location"])
        answer = {
            "form_token": re.findall(r'name="form_token" value="([^"]+)"', consent.text)[0],
            "account": account,
            "scope": re.findall(r'name="scope" value="([^"]+)" checked', consent.text),
            "decision": decision,
        }
        back = browser.post(str(consent.url.copy_with(query=None)), data=answer)
        return browser.get(back.headers["location"], follow_redirects=True).text


def decline(link: str) -> str:
    """Decline on the broker's page; the text of the page at the end."""
    broker, _, code = link.partition("/device?user_code=")
    form = {"user_code": code, "decision": "decline"}
    with httpx2.Client(trust_env=False, timeout=60) as browser:
        return browser.post(f"{broker}/device", data=form, headers={"Origin": broker}).text

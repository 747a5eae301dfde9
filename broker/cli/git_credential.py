"""``broker git-credential``: git's helper protocol (git-credential(1), gitcredentials(7)) over this machine's logins.

git asks with ``name=value`` lines on stdin, and reads such lines from stdout; nothing else is ever printed there. A
host that no login serves is answered with nothing but a hint on stderr, so that git asks its next helper. No ``.env``
is read: git calls its helper inside whatever was cloned.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import typer

from broker.cli.credentials import Credentials, Login, credentials_of_this_user
from broker.cli.headless import configured_client
from broker.cli.machine import Machine
from broker.cli.output import note
from broker.cli.remote import RemoteBroker, connected, on_loopback
from broker.cli.target import shown
from broker.settings import load_settings

commands = typer.Typer()

_PORTS: Final = {"https": 443, "http": 80}
_LONGEST: Final = 65_536
"""Bytes of a question; git's lines are shorter (gitcredentials(7): 65535)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What git asks about."""

    protocol: str
    host: str
    """In lower case; with its port where that isn't the protocol's own."""
    username: str
    password: str

    @property
    def is_safe(self) -> bool:
        """Whether a token may be sent there: over TLS, or within this machine."""
        return self.protocol == "https" or (self.protocol == "http" and on_loopback(f"http://{self.host}"))


@commands.command("git-credential")
def git_credential(
    operation: Annotated[Literal["get", "store", "erase"], typer.Argument(help="What git asks for.")],
) -> None:
    """Be git's credential helper: git config --global credential.https://HOST.helper '!broker git-credential'."""
    question = parsed(sys.stdin.buffer.read(_LONGEST))
    # What is to be stored came from us.
    if question is None or not question.is_safe or operation == "store":
        return
    credentials = credentials_of_this_user()
    login = _login_for(question, credentials)
    if login is None:
        if operation == "get":
            # git goes on to ask its person for a password that nobody has.
            note(f"not logged in for {question.host}; log in: broker login PROVIDER")
        return
    configured = configured_client(load_settings(env_file=None))
    with connected(login.url) as http:
        machine = Machine(RemoteBroker(http, login.url), credentials, configured)
        if operation == "get":
            _answer(machine, login)
        elif question.password:
            machine.note_refused(login, question.password)


def parsed(text: bytes) -> Question | None:
    """git's question; ``None`` if it can't be about a host over HTTP."""
    attributes: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").split("\n"):
        if not line:
            break
        name, _, value = line.partition("=")
        attributes[name] = value
    protocol = attributes.get("protocol", "")
    host = _without_default_port(protocol, attributes.get("host", ""))
    if not host:
        return None
    return Question(protocol, host, attributes.get("username", ""), attributes.get("password", ""))


def _without_default_port(protocol: str, host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return ""
    if parts.netloc != host or "@" in host or not parts.hostname:
        return ""
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return name if port in {None, _PORTS.get(protocol)} else f"{name}:{port}"


def _login_for(question: Question, credentials: Credentials) -> Login | None:
    """The newest login for this host; with the account that the address names, if there is one."""
    able = [login for login in _logins(credentials) if question.host in map(str.lower, login.git_hosts)]
    named = [login for login in able if question.username and login.account == question.username]
    return next(iter(named or able), None)


def _logins(credentials: Credentials) -> Sequence[Login]:
    """Those at BROKER_URL, if it is set; else all: git asks on behalf of programs that know nothing of brokers."""
    if not os.environ.get("BROKER_URL"):
        return credentials.logins()
    return credentials.logins(load_settings(env_file=None).url)


def _answer(machine: Machine, login: Login) -> None:
    token = machine.fetch(login)
    password = shown(token)
    sys.stdout.write("".join(f"{name}={value}\n" for name, value in _lines(login, password, token).items()))


def _lines(login: Login, password: str, token: Mapping[str, Any]) -> dict[str, str]:
    lines = {"username": login.git_username, "password": password}
    if "expires_in" in token:
        lines["password_expiry_utc"] = str(int(time.time()) + int(token["expires_in"]))
    return lines

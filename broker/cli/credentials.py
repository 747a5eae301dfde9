"""What this machine is logged in with: who, where, since when in a file; the secrets in the OS keyring, if it has one.

::

    CONFIG/broker/        0700; platformdirs' folder for a user's configuration
      logins.json         0600; every login, the newest first; the secrets too where there is no keyring
      logins.lock         held while that file is read and written again
      <digest>.lock       held while one login's tokens are renewed

A keyring is used if its backend is a real one: none that fails, keeps nothing or writes plain text. One that is locked
or broken is done without: then the file has the secrets, readable by this user alone, as with gh and git themselves.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import platformdirs

from broker.cli.faults import NotLoggedIn
from broker.cli.os_keyring import OsKeyring
from broker.errors import ConfigurationError
from broker.vault.redis.data_dir import lock

_OTHERS_MAY_TAKE: Final = 30.0
"""Seconds to wait for another process that renews the same login. The broker forgives two at once for a minute."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The secrets of a login."""

    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    """The broker token."""
    expires_at: float = 0.0
    """When that one ends, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Login:
    """One login of this machine, without its secrets."""

    url: str
    """The broker's."""
    provider: str
    connection_id: str
    client_id: str
    confidential: bool
    """Whether the client has to prove itself, with a secret that is not kept here."""
    scope: str
    """What its broker tokens may do."""
    logged_in_at: float
    """Seconds since the epoch."""
    account: str = ""
    """Whose account at the provider, for people."""
    git_hosts: tuple[str, ...] = ()
    git_username: str = ""
    served: Mapping[str, Any] = field(default_factory=dict)
    """The provider token that was handed out last: its digest, its generation, whether the provider refused it."""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.url} {self.connection_id}"


class Credentials:
    """The logins of this machine's user."""

    def __init__(self, folder: Path, keyring: OsKeyring) -> None:
        self._folder = folder
        self._keyring = keyring

    def logins(self, url: str | None = None) -> Sequence[Login]:
        """The logins at the broker ``url``, or all of them; the newest first."""
        return [login for login, _ in self._read() if url is None or login.url == url]

    def tokens(self, login: Login) -> Tokens | None:
        """The secrets of ``login``; ``None``: it was forgotten meanwhile.

        :raises NotLoggedIn: the keyring has them, and does not give them away.
        """
        for known, tokens in self._read():
            if known.key == login.key:
                return tokens or self._from_keyring(login)
        return None

    def keep(self, login: Login, tokens: Tokens) -> None:
        """Keep a login, instead of an older one with the same connection. It is on disk when this returns.

        :raises ConfigurationError: it can't be written.
        """
        kept = None if self._into_keyring(login, tokens) else tokens
        with self._changing() as entries:
            others = [entry for entry in entries if entry[0].key != login.key]
            entries[:] = [(login, kept), *others]

    def renew(self, login: Login, tokens: Tokens) -> None:
        """Keep other secrets for ``login``, unless it was forgotten meanwhile. They are on disk when this returns.

        :raises ConfigurationError: they can't be written.
        """
        kept = None if self._into_keyring(login, tokens) else tokens
        self._change(login, lambda known, _: (known, kept))

    def update(self, login: Login, **fields: Any) -> None:  # noqa: ANN401 - as many kinds as there are fields
        """Change what is known about ``login``, unless it was forgotten meanwhile."""
        self._change(login, lambda known, tokens: (replace(known, **fields), tokens))

    def forget(self, login: Login) -> None:
        """Drop a login with its secrets."""
        with self._changing() as entries:
            entries[:] = [entry for entry in entries if entry[0].key != login.key]
        self._keyring.drop(login.key)

    @contextmanager
    def renewing(self, login: Login) -> Iterator[None]:
        """Only one process at a time is in here for ``login``; one that waited in vain goes on all the same."""
        name = hashlib.sha256(login.key.encode()).hexdigest()[:32]
        descriptor = self._lock(f"{name}.lock")
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _change(self, login: Login, change: Callable[[Login, Tokens | None], tuple[Login, Tokens | None]]) -> None:
        with self._changing() as entries:
            entries[:] = [change(*entry) if entry[0].key == login.key else entry for entry in entries]

    @contextmanager
    def _changing(self) -> Iterator[list[tuple[Login, Tokens | None]]]:
        """The entries, to be changed in place; written when this ends well."""
        descriptor = self._lock("logins.lock")
        if descriptor is None:
            raise ConfigurationError([f"{self._folder / 'logins.lock'} is held by another process"])
        try:
            entries = self._read()
            yield entries
            self._write(entries)
        finally:
            os.close(descriptor)

    def _read(self) -> list[tuple[Login, Tokens | None]]:
        path = self._folder / "logins.json"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise ConfigurationError([f"can't read {path}: {getattr(error, 'strerror', None) or 'no text'}"]) from None
        try:
            return [_parsed(entry) for entry in json.loads(text)["logins"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigurationError([f"{path} is damaged; remove it and log in again"]) from None

    def _write(self, entries: Sequence[tuple[Login, Tokens | None]]) -> None:
        document = {"logins": [{**asdict(login), "tokens": tokens and asdict(tokens)} for login, tokens in entries]}
        path = self._folder / "logins.json"
        try:
            # A file of mkstemp is this user's alone from its first moment on.
            descriptor, name = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(document, file, indent=1)
                    file.flush()
                    # A refresh token works once: its successor must not be lost with the power.
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            _sync(self._folder)
        except OSError as error:
            raise ConfigurationError([f"can't write {path}: {error.strerror}"]) from None

    def _lock(self, name: str) -> int | None:
        self.make_folder()
        try:
            return lock(self._folder / name, seconds=_OTHERS_MAY_TAKE)
        except OSError as error:
            raise ConfigurationError([f"can't use {self._folder / name}: {error.strerror}"]) from None

    def make_folder(self) -> None:
        """See that there is a place to keep logins.

        :raises ConfigurationError: there can't be.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._folder.stat()
            if found.st_uid != os.geteuid():
                raise ConfigurationError([f"{self._folder} belongs to another user"])
            if found.st_mode & 0o077:
                self._folder.chmod(0o700)
        except OSError as error:
            raise ConfigurationError([f"can't use {self._folder}: {error.strerror}"]) from None

    def _from_keyring(self, login: Login) -> Tokens:
        try:
            tokens = _tokens(json.loads(self._keyring.read(login.key) or "null"))
        except (ValueError, KeyError, TypeError):
            tokens = None
        if tokens is None:
            fault = f"the OS keyring does not give away the login with {login.provider!r}"
            raise NotLoggedIn(f"{fault}: unlock it, or log in again: broker login {login.provider}")
        return tokens

    def _into_keyring(self, login: Login, tokens: Tokens) -> bool:
        return self._keyring.write(login.key, json.dumps(asdict(tokens)))


def credentials_of_this_user() -> Credentials:
    """The logins of whoever runs the command."""
    return Credentials(platformdirs.user_config_path("broker"), OsKeyring())


def _parsed(entry: Mapping[str, Any]) -> tuple[Login, Tokens | None]:
    """An entry of the file, which a later version may have written with more fields."""
    known = {name: entry[name] for name in Login.__dataclass_fields__ if name in entry}
    login = Login(**{**known, "git_hosts": tuple(known.get("git_hosts", ()))})
    return login, _tokens(entry.get("tokens"))


def _tokens(kept: Mapping[str, Any] | None) -> Tokens | None:
    if kept is None:
        return None
    return Tokens(**{name: kept[name] for name in Tokens.__dataclass_fields__ if name in kept})


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

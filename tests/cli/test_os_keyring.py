"""Tests of :mod:`broker.cli.os_keyring`: a keyring is used where it is real, and done without where it isn't."""

from threading import Event

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import chainer, fail, null
from keyring.errors import KeyringLocked

from broker.cli.os_keyring import OsKeyring, system_backend


class Memory(KeyringBackend):
    """A keyring that works."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Plaintext(Memory):
    """One that writes where anybody can read it."""

    priority = 0.5  # type: ignore[assignment]


class Locked(Memory):
    """One that nobody unlocks."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked

    def delete_password(self, service: str, username: str) -> None:
        raise KeyringLocked


class Forgetful(Memory):
    """One that takes everything and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Do nothing."""


def test_it_keeps_gives_and_forgets() -> None:
    """Secrets by name, of a service that is named after the program; forgetting what isn't there is no fault."""
    backend = Memory()
    kept = OsKeyring(lambda: backend)
    assert kept.write("a", "secret")
    assert (kept.read("a"), kept.read("b")) == ("secret", None)
    assert list(backend.kept) == [("broker", "a")]
    kept.drop("a")
    kept.drop("a")
    assert kept.read("a") is None


@pytest.mark.parametrize("backend", [Locked(), Forgetful(), None])
def test_one_that_can_not_is_said_so(backend: Memory | None) -> None:
    """A write that didn't happen is no success, a read that fails gives nothing, and nothing raises."""
    kept = OsKeyring(lambda: backend)
    assert not kept.write("a", "secret")
    assert kept.read("a") is None
    kept.drop("a")


def test_one_that_can_not_be_found_out_about_is_none() -> None:
    """Looking for it may fail, too: no session bus, a broken installation."""

    def broken() -> Memory:
        raise RuntimeError("no bus")

    assert not OsKeyring(broken).write("a", "secret")


def test_one_that_waits_for_nobody_is_given_up() -> None:
    """A prompt on a machine where nobody sits: our patience ends, and it isn't asked again."""
    answered, asked = Event(), []

    class Prompting(Memory):
        def get_password(self, service: str, username: str) -> str | None:
            asked.append(username)
            answered.wait()
            return None

    kept = OsKeyring(Prompting, patience=0.01)
    try:
        assert kept.read("a") is None
        assert kept.read("b") is None
        assert not kept.write("c", "secret")
    finally:
        answered.set()
    assert asked == ["a"]


def test_only_a_real_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """None that fails, keeps nothing or keeps plain text; among several the first that is real."""
    real = Memory()
    several = chainer.ChainerBackend()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(chainer.ChainerBackend, "backends", [Plaintext(), real])
    for backend, found in [
        (real, real),
        (several, real),
        (fail.Keyring(), None),  # type: ignore[no-untyped-call]
        (null.Keyring(), None),  # type: ignore[no-untyped-call]
        (Plaintext(), None),
    ]:
        monkeypatch.setattr(keyring, "get_keyring", lambda backend=backend: backend)
        assert system_backend() is found

"""Tests of :mod:`broker.cli.credentials`: what is kept where, for whom to read, and what two processes do to it."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from broker.cli.credentials import Credentials, Login, Tokens
from broker.cli.faults import NotLoggedIn
from broker.cli.os_keyring import OsKeyring
from broker.errors import ConfigurationError
from tests.cli.test_os_keyring import Forgetful, Locked, Memory

URL = "https://broker.example"
TOKENS = Tokens("brt_canary", "bat_canary", 1000.0)


def login(connection_id: str = "con_1", url: str = URL, provider: str = "practice") -> Login:
    """A login."""
    return Login(url, provider, connection_id, "cl_1", confidential=False, scope="tokens:read", logged_in_at=1.0)


def without_keyring(folder: Path) -> Credentials:
    """The logins of a machine without keyring."""
    return Credentials(folder, OsKeyring(lambda: None))


def test_without_a_keyring_a_file_of_this_user_alone_has_the_secrets(tmp_path: Path) -> None:
    """0600 in a folder of 0700, also where the folder was there before and open; nothing else is left in it."""
    folder = tmp_path / "config" / "broker"
    folder.mkdir(parents=True, mode=0o755)
    kept = without_keyring(folder)
    assert (kept.logins(), kept.tokens(login())) == ([], None)
    kept.keep(login(), TOKENS)
    assert without_keyring(folder).tokens(login()) == TOKENS
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "logins.json").stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in folder.iterdir()) == ["logins.json", "logins.lock"]


def test_with_a_keyring_the_file_has_no_secret(tmp_path: Path) -> None:
    """Who, where and since when stand in the file; forgetting takes the secret out of the keyring."""
    backend = Memory()
    kept = Credentials(tmp_path, OsKeyring(lambda: backend))
    kept.keep(login(), TOKENS)
    assert "canary" not in (tmp_path / "logins.json").read_text()
    kept.renew(login(), replace(TOKENS, access_token="bat_later"))
    assert "canary" not in (tmp_path / "logins.json").read_text()
    again = Credentials(tmp_path, OsKeyring(lambda: backend)).tokens(login())
    assert again == replace(TOKENS, access_token="bat_later")
    kept.forget(login())
    assert (backend.kept, list(kept.logins())) == ({}, [])


@pytest.mark.parametrize("backend", [Locked(), Forgetful()])
def test_a_keyring_that_takes_nothing_falls_back_to_the_file(tmp_path: Path, backend: Memory) -> None:
    """The login is kept all the same, and can be renewed."""
    kept = Credentials(tmp_path, OsKeyring(lambda: backend))
    kept.keep(login(), TOKENS)
    kept.renew(login(), replace(TOKENS, access_token="bat_later"))
    assert kept.tokens(login()) == replace(TOKENS, access_token="bat_later")


def test_a_keyring_that_stops_working_takes_no_later_secret_along(tmp_path: Path) -> None:
    """What was renewed while it was locked counts, also once it gives its older secret away again."""
    backend = Memory()
    Credentials(tmp_path, OsKeyring(lambda: backend)).keep(login(), TOKENS)
    renewed = replace(TOKENS, refresh_token="brt_2")
    Credentials(tmp_path, OsKeyring(Locked)).renew(login(), renewed)
    assert Credentials(tmp_path, OsKeyring(lambda: backend)).tokens(login()) == renewed


@pytest.mark.parametrize("backend", [Locked(), Memory(), None])
def test_a_keyring_that_gives_nothing_away_is_said_so(tmp_path: Path, backend: Memory | None) -> None:
    """Locked, emptied, or gone: not taken for a login that is over."""
    working = Memory()
    Credentials(tmp_path, OsKeyring(lambda: working)).keep(login(), TOKENS)
    kept = Credentials(tmp_path, OsKeyring(lambda: backend))
    with pytest.raises(NotLoggedIn, match=r"keyring does not give away .*unlock it, or log in again"):
        kept.tokens(login())
    assert list(kept.logins()) == [login()]


def test_logins_are_told_apart_by_broker_and_connection(tmp_path: Path) -> None:
    """The newest comes first; one with the same connection takes the other's place, at another broker it doesn't."""
    kept = without_keyring(tmp_path)
    for one in (login("con_1"), login("con_2"), login("con_1", url="https://other.example"), login("con_1")):
        kept.keep(one, TOKENS)
    assert [(one.url, one.connection_id) for one in kept.logins()] == [
        (URL, "con_1"),
        ("https://other.example", "con_1"),
        (URL, "con_2"),
    ]
    assert [one.connection_id for one in kept.logins(URL)] == ["con_1", "con_2"]


def test_what_is_forgotten_is_not_brought_back(tmp_path: Path) -> None:
    """A renewal or a note that comes too late changes nothing."""
    kept = without_keyring(tmp_path)
    kept.keep(login(), TOKENS)
    kept.forget(login())
    kept.renew(login(), TOKENS)
    kept.update(login(), account="ann")
    assert list(kept.logins()) == []


def test_secrets_do_not_show(tmp_path: Path) -> None:
    """Neither in what an object says of itself, nor in the error about a damaged file."""  # K1
    assert "canary" not in repr(TOKENS)
    (tmp_path / "logins.json").write_text('{"logins": [{"canary": 1}]}')
    with pytest.raises(ConfigurationError) as damaged:
        without_keyring(tmp_path).logins()
    assert "canary" not in str(damaged.value)
    assert "logins.json is damaged" in str(damaged.value)


def test_what_a_later_version_wrote_can_be_read(tmp_path: Path) -> None:
    """Fields that this version doesn't know are passed over."""
    kept = without_keyring(tmp_path)
    kept.keep(login(), TOKENS)
    document = json.loads((tmp_path / "logins.json").read_text())
    document["logins"][0] |= {"later": 1}
    document["logins"][0]["tokens"] |= {"later": 1}
    (tmp_path / "logins.json").write_text(json.dumps(document | {"later": 1}))
    assert list(kept.logins()) == [login()]
    assert kept.tokens(login()) == TOKENS


def test_a_folder_that_can_not_be_written_is_a_fault_in_words(tmp_path: Path) -> None:
    """It says which."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        without_keyring(tmp_path / "file" / "broker").keep(login(), TOKENS)
    (tmp_path / "broker" / "logins.lock").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"logins\.lock"):
        without_keyring(tmp_path / "broker").keep(login(), TOKENS)


def _keep_some(folder: Path, first: int) -> None:
    for number in range(first, first + 10):
        without_keyring(folder).keep(login(f"con_{number}"), TOKENS)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each reads and writes behind the same lock."""
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_keep_some, args=(tmp_path, first)) for first in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(without_keyring(tmp_path).logins()) == 30


def test_one_process_at_a_time_renews(tmp_path: Path) -> None:
    """Another login isn't waited for."""
    kept = without_keyring(tmp_path)
    with kept.renewing(login("con_1")), kept.renewing(login("con_2")):
        pass
    with kept.renewing(login("con_1")):
        pass

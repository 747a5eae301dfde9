"""``broker keys``."""

import pytest
import redis

from broker.settings.values import parse_keys
from tests.cli.conftest import KEY, Cli
from tests.journey import everything_in


def test_a_generated_key_fits_the_setting(cli: Cli, raw_store: redis.Redis) -> None:
    """``generate`` prints one usable ``kid:base64`` on stdout, another one each time, and keeps it nowhere."""
    first, second = cli("keys", "generate").stdout.strip(), cli("keys", "generate").stdout.strip()
    assert first != second
    assert len(parse_keys(f"{first},{second}")) == 2  # type: ignore[arg-type]
    named = cli("keys", "generate", "--kid", "spring", "--json").json
    assert named["kid"] == "spring"
    assert named["key"].startswith("spring:")
    assert everything_in(raw_store) == b""


def test_a_key_id_must_fit_the_setting(cli: Cli) -> None:
    """A key id that BROKER_ENCRYPTION_KEYS could not hold is refused with 2, and no key is printed."""
    result = cli("keys", "generate", "--kid", "a:b")
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_keyring_is_shown_without_its_keys(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """``status`` names the keys, tells which one writes, and shows no byte of a key."""
    other = cli("keys", "generate", "--kid", "k2").stdout.strip()
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", f"{KEY},{other}")
    result = cli("keys", "status", "--json")
    assert (result.json["source"], result.json["writer"]) == ("BROKER_ENCRYPTION_KEYS", "k1")
    assert [(key["kid"], key["writes"]) for key in result.json["keys"]] == [("k1", True), ("k2", False)]
    for key in (KEY, other):
        assert key.partition(":")[2] not in result.stdout + cli("keys", "status").stdout


def test_a_ring_that_lacks_the_stores_key_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other keys than the store was written with, ``status`` ends with 3 and names the missing one."""  # K6
    assert cli("keys", "status").exit_code == 0
    monkeypatch.setenv("BROKER_ENCRYPTION_KEYS", cli("keys", "generate", "--kid", "k2").stdout.strip())
    result = cli("keys", "status")
    assert result.exit_code == 3
    assert "'k1'" in result.stderr
    assert result.stdout == ""

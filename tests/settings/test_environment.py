"""From variables, ``.env`` and secret files to ``Settings``, or to every fault at once."""

import base64
import os
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.settings import Settings, load_settings, read_environment

KEY = base64.b64encode(bytes(range(32))).decode()
CANARY = "CANARY-7f3a9b"


def load(environ: Mapping[str, str]) -> Settings:
    return load_settings(environ, env_file=None)


def faults(environ: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(environ)
    return caught.value.faults


def outcome(environ: Mapping[str, str]) -> str:
    """What an operator would see of a failing start: the message with its traceback, chained errors included."""
    try:
        load(environ)
    except ConfigurationError:
        return traceback.format_exc()
    return ""


def test_defaults_need_no_environment() -> None:
    """An empty environment gives a broker on loopback with the embedded store."""
    settings = load({})
    assert settings.public_url == settings.issuer == settings.origin == "http://localhost:8400"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8400, 1)
    assert settings.providers_file == Path("providers.yaml")
    assert settings.redis_url is None
    assert settings.encryption_keys is None
    assert settings.background_enabled
    assert not settings.secure
    assert settings.events_retention == (90 * 24 * 3600 * 1000, 1_000_000)
    assert (settings.events_sink, settings.store_wait_replicas, settings.log_level) == ("none", 0, "INFO")
    assert settings.trusted_proxies == settings.egress_allow == ()


def test_the_default_public_url_follows_the_port() -> None:
    """Who only sets the port gets links that work."""
    assert load({"BROKER_PORT": "9000"}).public_url == "http://localhost:9000"


def test_every_fault_is_reported_at_once() -> None:
    """Six mistakes take one start to see, each under its variable's name."""
    found = faults(
        {
            "BROKER_PORT": "99999",
            "BROKER_WORKERS": "0",
            "BROKER_PUBLIC_URL": "http://broker.example",
            "BROKER_REDIS_URL": "redis://store.example",
            "BROKER_LOG_LEVEL": "loud",
            "BROKER_WORKRES": "4",
        }
    )
    assert sorted(fault.partition(":")[0] for fault in found) == [
        "BROKER_ENCRYPTION_KEYS",
        "BROKER_LOG_LEVEL",
        "BROKER_PORT",
        "BROKER_PUBLIC_URL",
        "BROKER_WORKERS",
        "BROKER_WORKRES",
    ]


def test_an_unknown_variable_is_a_fault_with_a_suggestion() -> None:
    """A typing error in a variable's name doesn't go unnoticed."""
    assert faults({"BROKER_PUBLIC_URI": "x"}) == (
        "BROKER_PUBLIC_URI: unknown setting (did you mean BROKER_PUBLIC_URL?)",
    )
    load({"BROKER_QQQQ": "what resembles no setting may be another program's"})
    assert faults({"BROKER_PORT_FILE": "x"})[0].startswith("BROKER_PORT_FILE: unknown setting")


def test_what_kubernetes_adds_for_a_service_named_broker_is_understood() -> None:
    """Service links are no faults of their own; the one that hits a setting says what to do."""
    links = {
        "BROKER_SERVICE_HOST": "10.0.0.9",
        "BROKER_SERVICE_PORT_HTTP": "8400",
        "BROKER_PORT_8400_TCP": "tcp://10.0.0.9:8400",
        "BROKER_PORT_8400_TCP_ADDR": "10.0.0.9",
    }
    assert load(links).port == 8400
    found = faults({**links, "BROKER_PORT": "tcp://10.0.0.9:8400"})
    assert len(found) == 1
    assert "enableServiceLinks: false" in found[0]


def test_an_external_store_needs_keys() -> None:
    """Keys made on one machine would be lost with it, and other replicas couldn't read what it wrote."""
    found = faults({"BROKER_REDIS_URL": "redis://store.example"})
    assert found == ("BROKER_ENCRYPTION_KEYS: is required with an external store (BROKER_REDIS_URL)",)
    settings = load({"BROKER_REDIS_URL": "redis://store.example", "BROKER_ENCRYPTION_KEYS": f"k1:{KEY}"})
    assert settings.encryption_keys == (("k1", bytes(range(32))),)


def test_secrets_can_come_from_files(tmp_path: Path) -> None:
    """``X_FILE`` gives a secret as orchestrators mount it, with or without a line break at its end."""
    (tmp_path / "keys").write_text(f"k1:{KEY}\n")
    (tmp_path / "store").write_text("rediss://:pw@store.example")
    (tmp_path / "client").write_text("s3cret\n")
    settings = load(
        {
            "BROKER_ENCRYPTION_KEYS_FILE": str(tmp_path / "keys"),
            "BROKER_REDIS_URL_FILE": str(tmp_path / "store"),
            "BROKER_CLIENT_SECRET_FILE": str(tmp_path / "client"),
        }
    )
    assert settings.encryption_keys == (("k1", bytes(range(32))),)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "rediss://:pw@store.example"
    assert settings.client_secret is not None
    assert settings.client_secret.get_secret_value() == "s3cret"


def test_a_secret_file_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    """Missing, empty, not text, a faulty value, or given twice: each says so under the variable at fault."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "keys").write_text("nonsense")
    twice = {
        "BROKER_REDIS_URL": "redis://a",
        "BROKER_REDIS_URL_FILE": "b",
        "BROKER_ENCRYPTION_KEYS": f"k:{KEY}",
    }
    assert faults(twice) == ("BROKER_REDIS_URL: BROKER_REDIS_URL_FILE is set too; only one of them may be",)
    assert faults({"BROKER_ENCRYPTION_KEYS_FILE": f"{tmp_path}/absent"}) == (
        "BROKER_ENCRYPTION_KEYS_FILE: the file does not exist",
    )
    for name in ("binary", ""):
        found = faults({"BROKER_ENCRYPTION_KEYS_FILE": f"{tmp_path}/{name}"})
        assert found == ("BROKER_ENCRYPTION_KEYS_FILE: the file can't be read as UTF-8 text",)
    assert faults({"BROKER_CLIENT_SECRET_FILE": str(tmp_path / "empty")}) == (
        "BROKER_CLIENT_SECRET_FILE: the file is empty",
    )
    assert faults({"BROKER_ENCRYPTION_KEYS_FILE": str(tmp_path / "keys")})[0].startswith(
        "BROKER_ENCRYPTION_KEYS_FILE: key 1 "
    )


def test_an_unreadable_key_file_is_not_also_called_missing(tmp_path: Path) -> None:
    """One mistake, one fault."""
    environ = {
        "BROKER_REDIS_URL": "redis://store.example",
        "BROKER_ENCRYPTION_KEYS_FILE": str(tmp_path / "absent"),
    }
    assert len(faults(environ)) == 1


def test_no_value_is_ever_shown(tmp_path: Path) -> None:
    """A canary in every variable, good or malformed, appears in no fault and in no representation."""  # K1
    (tmp_path / "secret").write_text(CANARY)
    shown: list[str] = []
    for name in Settings.model_fields:
        variable = f"BROKER_{name.upper()}"
        malformed = ("{}", "http://{}@x/#{}", "redis://[{}", "k:{}", "tcp://{}")
        shown += [outcome({variable: text.replace("{}", CANARY)}) for text in malformed]
    shown.append(outcome({"BROKER_ENCRYPTION_KEYS_FILE": str(tmp_path / "secret")}))
    assert CANARY not in "".join(shown)
    settings = load(
        {
            "BROKER_REDIS_URL": f"redis://:{CANARY}@store.example",
            "BROKER_ENCRYPTION_KEYS": f"k1:{KEY}",
            "BROKER_CLIENT_SECRET": CANARY,
        }
    )
    dumped = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    for secret in (CANARY, KEY, repr(bytes(range(32)))):
        assert secret not in dumped


def test_the_env_file_is_read_below_the_environment(tmp_path: Path) -> None:
    """In development ``.env`` supplies what the environment doesn't say, of others' variables too."""
    env_file = tmp_path / ".env"
    env_file.write_text('BROKER_PORT=9001\nBROKER_WORKERS=2\nEXAMPLE_CLIENT_ID="from file"\nBROKER_OTHER=1\n')
    environ = {"BROKER_WORKERS": "3"}
    settings = load_settings(environ, env_file)
    assert (settings.port, settings.workers) == (9001, 3)
    assert read_environment(environ, env_file)["EXAMPLE_CLIENT_ID"] == "from file"
    assert load_settings(environ, tmp_path / "absent").port == 8400


def test_an_env_file_that_is_not_text_is_a_fault(tmp_path: Path) -> None:
    """It is named, and the start doesn't end in a traceback."""
    (tmp_path / ".env").write_bytes(b"BROKER_PORT=\xff\n")
    with pytest.raises(ConfigurationError, match=r"\.env: can't be read"):
        load_settings({}, tmp_path / ".env")


def test_lines_of_an_env_file_that_set_nothing_are_faults(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is named by its line and not shown, and nothing is logged besides."""  # K1
    env_file = tmp_path / ".env"
    env_file.write_text(f"# comment\nA=1\n\n\nB {CANARY}\nC='x\ny'\n  export D={CANARY} # comment\nE=\"{CANARY}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, env_file)
    assert caught.value.faults == (f"{env_file}:5: not NAME=value", f"{env_file}:9: not NAME=value")
    assert caplog.records == []


def test_an_unknown_setting_in_an_env_file_is_a_fault(tmp_path: Path) -> None:
    """A typing error there goes no more unnoticed than in the environment; other programs' variables are let be."""
    (tmp_path / ".env").write_text("BROKER_WORKRES=2\nBROKER_QQQQ=1\nWORKRES=1\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, tmp_path / ".env")
    assert caught.value.faults == ("BROKER_WORKRES: unknown setting (did you mean BROKER_WORKERS?)",)


def test_an_empty_variable_counts_as_unset() -> None:
    """Compose files pass ``X=`` for what nobody set."""
    assert load({"BROKER_REDIS_URL": "", "BROKER_PORT": ""}).port == 8400


def test_settings_made_directly_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ``load_settings`` reads the machine; by default it reads the process's environment."""
    monkeypatch.setitem(os.environ, "BROKER_PORT", "9002")
    assert Settings().port == 8400
    assert load_settings(env_file=None).port == 9002


def test_settings_are_frozen() -> None:
    """Nothing changes a setting after the start."""
    with pytest.raises(ValueError, match="frozen"):
        setattr(load({}), "port", 1)  # noqa: B010 - the type checker refuses the plain form, too

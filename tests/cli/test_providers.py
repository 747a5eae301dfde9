"""``broker providers``."""

from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Cli


def test_every_provider_is_listed_with_what_it_lacks(cli: Cli, sandbox: httpx2.Client) -> None:
    """The list has the API's fields, the redirect URI to register among them; nobody is asked for it."""
    items = {item["name"]: item for item in cli("providers", "list", "--json").json["items"]}
    assert items["practice"]["ready"] is True
    assert items["practice"]["redirect_uri"].endswith("/callback/practice")
    assert items["unconfigured"]["missing"] == ["environment variable NOT_SET_ANYWHERE"]
    table = cli("providers", "list").stdout
    assert "lacks NOT_SET_ANYWHERE" in table
    assert "practice-secret" not in table
    assert sandbox.get("/counters").json()["metadata"] == 0


def test_a_check_asks_the_issuers(cli: Cli, sandbox: httpx2.Client) -> None:
    """``check`` discovers what the file leaves out; a provider that isn't ready is no failure unless named."""
    result = cli("providers", "check", "--json")
    assert result.exit_code == 0
    items = {item["name"]: item for item in result.json["items"]}
    assert items["practice"]["token_endpoint"] == f"{str(sandbox.base_url).rstrip('/')}/token"
    assert items["unconfigured"]["usable"] is False
    assert sandbox.get("/counters").json()["metadata"] > 0
    assert cli("providers", "check", "practice").exit_code == 0
    assert cli("providers", "check", "unconfigured").exit_code == 1
    assert cli("providers", "check", "nowhere").exit_code == 1


def test_a_check_fails_where_a_ready_provider_cannot_be_reached(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that doesn't answer makes ``check`` end with 1, saying which one."""
    monkeypatch.setenv("PRACTICE", "http://127.0.0.1:1")
    result = cli("providers", "check", "practice", "--json")
    assert result.exit_code == 1
    (found,) = result.json["items"]
    assert found["usable"] is False
    assert found["problem"]
    assert cli("providers", "check").exit_code == 1


def test_faults_of_the_file_are_named_by_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A faulty file ends with 2, a line per fault, and no value of the file in it."""
    providers = tmp_path / "faulty.yaml"
    providers.write_text(
        "providers:\n  one:\n    display_name: One\n    client_secrets: canary\n    code_lifetime: 0\n"
    )
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(providers))
    result = cli("providers", "list")
    assert result.exit_code == 2
    assert f"{providers}:4" in result.stderr
    assert f"{providers}:5" in result.stderr
    assert "canary" not in result.stderr


def test_a_parameter_without_default_leaves_nothing_to_ask(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where each connection names its own host, ``check`` has no host to ask and says usable."""
    providers = tmp_path / "shops.yaml"
    providers.write_text(
        "providers:\n"
        "  shop:\n"
        "    display_name: Shop\n"
        "    issuer: https://{shop}.example\n"
        "    client_id: id\n"
        "    client_secret: secret\n"
        "    parameters: {shop: {label: Your shop, pattern: '[a-z]+'}}\n"
    )
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(providers))
    (found,) = cli("providers", "check", "shop", "--json").json["items"]
    assert (found["usable"], found["token_endpoint"]) == (True, None)

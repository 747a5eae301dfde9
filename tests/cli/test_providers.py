"""``broker providers``."""

import errno
import os
from pathlib import Path

import httpx2
import pytest

from broker.providers import load_providers
from broker.providers.shipped import shipped_file
from tests.cli.conftest import Cli

ENTRY = """\
  shop:
    display_name: Shop
    authorization_endpoint: https://shop.test/authorize
    token_endpoint: https://shop.test/token
    scopes: {read: Read your orders}
    refresh: {rotation: strict}  # unverified: it is said
    client_id: ${SHOP_ID}
    client_secret: ${SHOP_SECRET}
"""


def providers_file(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    """A providers file of one's own, and the one that is configured."""
    path = folder / "providers.yaml"
    path.write_text(text)
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(path))
    return path


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


def test_a_check_says_what_is_missing_found_and_unverified(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Per provider in JSON; a line each for people, and all of it where a provider is named, or with ``--details``."""
    own = providers_file(monkeypatch, tmp_path, "providers:\n" + ENTRY)
    checked = cli("providers", "check", "--json")
    assert checked.exit_code == 0
    (item,) = checked.json["items"]
    assert item["missing"] == ["environment variable SHOP_ID", "environment variable SHOP_SECRET"]
    assert item["redirect_uri"].endswith("/callback/shop")
    assert {finding["key"]: finding["level"] for finding in item["findings"]} == {
        "documentation": "note",
        "identity": "note",
        "revocation": "note",
        "api.base_url": "note",
    }
    assert item["unverified"] == [{"key": "refresh.rotation", "note": "it is said"}]
    assert checked.json["findings"] == []
    overview = cli("providers", "check").stdout.splitlines()
    assert [line.split() for line in overview] == [
        ["PROVIDER", "STATE", "UNVERIFIED", "NOTES"],
        ["shop", "lacks", "SHOP_ID,", "SHOP_SECRET", "1", "4"],
    ]
    details = cli("providers", "check", "--details")
    named = cli("providers", "check", "shop")
    assert named.stdout == details.stdout
    assert (named.exit_code, details.exit_code) == (1, 0)
    assert (item["type"], item["documentation"]) == ("oauth2", None)
    for said in (
        "redirect URI",
        "/callback/shop",
        "refresh.rotation: it is said",
        "lacks SHOP_ID, SHOP_SECRET",
        "type          oauth2",
        "register an app there with that redirect URI, then set SHOP_ID, SHOP_SECRET in the environment",
    ):
        assert said in named.stdout
    assert own.read_text().endswith(ENTRY)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("{read: Read your orders}", "{read: read}", "needs a sentence"),
        ("    refresh:", "    # unverified\n    refresh:", "line 7"),
    ],
)
def test_what_has_to_be_mended_fails_the_check(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    """In an entry or in the file, though nothing is used yet; it is shown, not only counted."""
    providers_file(monkeypatch, tmp_path, "providers:\n" + ENTRY.replace(right, wrong))
    for options in ((), ("--details",), ("--json",)):
        checked = cli("providers", "check", *options)
        assert (checked.exit_code, said in checked.stdout) == (1, True)


def test_every_shipped_entry_passes_the_check(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to be mended; each value that nobody confirmed is told with its key."""
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(shipped_file()))
    checked = cli("providers", "check", "--json")
    assert checked.exit_code == 0
    bases = {item["name"]: item["extends"] for item in checked.json["items"] if item["extends"]}
    assert bases["slack-user"] == "slack"
    told = {f"{item['name']}: {mark['key']}" for item in checked.json["items"] for mark in item["unverified"]}
    assert "notion: refresh.rotation" in told
    assert all(item["usable"] or item["missing"] for item in checked.json["items"])


def test_an_entry_is_added_to_a_file_that_is_made(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With its comments and marks; what to set and to register is said, and the check finds it."""
    own = tmp_path / "etc" / "providers.yaml"
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(own))
    added = cli("providers", "add", "notion")
    assert added.exit_code == 0
    for said in ("NOTION_CLIENT_ID, NOTION_CLIENT_SECRET", "/callback/notion", "https://developers.notion.com/"):
        assert said in added.stdout
    assert "# unverified: agreed on by public code" in own.read_text()
    assert own.stat().st_mode & 0o777 == 0o644
    assert cli("providers", "check").exit_code == 0
    assert [path.name for path in own.parent.iterdir()] == ["providers.yaml"]


def test_what_is_there_stays_and_a_name_is_taken_once(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second app of the service gets a name of its own; the file's comments and mode stay."""
    own = providers_file(monkeypatch, tmp_path, "# Mine.\nproviders:\n" + ENTRY)
    own.chmod(0o600)
    assert cli("providers", "add", "github").exit_code == 0
    before = own.read_text()
    again = cli("providers", "add", "github")
    assert (again.exit_code, own.read_text()) == (1, before)
    assert "--as" in again.stderr
    assert cli("providers", "add", "github", "--as", "github-two").exit_code == 0
    assert own.read_text().startswith(before)
    assert before.startswith("# Mine.\nproviders:\n" + ENTRY)
    assert own.stat().st_mode & 0o777 == 0o600
    assert set(load_providers(own, {}).names) == {"github", "github-two", "shop"}


def test_what_an_entry_extends_comes_along(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless it is there; under another name it is the entry's own."""
    own = tmp_path / "providers.yaml"
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(own))
    assert "added slack, which it extends" in cli("providers", "add", "slack-user").stdout
    assert cli("providers", "add", "slack-user", "--as", "me").exit_code == 0
    assert load_providers(own, {}).names == ("me", "slack", "slack-user")
    own.unlink()
    assert cli("providers", "add", "slack-user", "--as", "slack").exit_code == 1
    assert not own.exists()


def test_an_unknown_entry_is_not_added(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A near name is proposed; a name that no entry can have is refused. No file is made."""
    own = tmp_path / "providers.yaml"
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(own))
    refused = cli("providers", "add", "githup")
    assert (refused.exit_code, "did you mean github?" in refused.stderr) == (1, True)
    assert cli("providers", "add", "github", "--as", "Git Hub").exit_code == 1
    assert not own.exists()


def test_a_result_with_faults_replaces_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is at fault before stays as it is, and its faults are named."""
    own = providers_file(monkeypatch, tmp_path, "providers:\n  shop:\n    display_nam: Shop\n")
    before = own.read_text()
    refused = cli("providers", "add", "github")
    assert (refused.exit_code, own.read_text()) == (2, before)
    assert "display_nam" in refused.stderr
    assert list(tmp_path.glob("*.yaml*")) == [own]


@pytest.mark.parametrize("below", ["a file", "a loop"])
def test_a_folder_that_cannot_be_made_is_said(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, below: str
) -> None:
    """In a line, with the exit code of a configuration that is at fault."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file") if below == "a file" else blocked.symlink_to(blocked)
    monkeypatch.setenv("BROKER_PROVIDERS_FILE", str(blocked / "etc" / "providers.yaml"))
    refused = cli("providers", "add", "github")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "BROKER_PROVIDERS_FILE" in refused.stderr


def test_a_file_that_is_replaced_keeps_its_owner(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who runs the command may not be who runs the broker. Only the superuser can give files away."""
    own = providers_file(monkeypatch, tmp_path, "providers:\n" + ENTRY)
    if os.geteuid() == 0:
        os.chown(own, 12345, 12346)
    own.chmod(0o640)
    before, given, chown = own.stat(), [], os.fchown

    def watched(descriptor: int, uid: int, gid: int) -> None:
        given.append((uid, gid))
        chown(descriptor, uid, gid)

    monkeypatch.setattr("os.fchown", watched)
    assert cli("providers", "add", "github").exit_code == 0
    after = own.stat()
    assert given == [(before.st_uid, before.st_gid)]
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_an_owner_that_cannot_be_kept_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The entry is added all the same."""
    own = providers_file(monkeypatch, tmp_path, "providers:\n" + ENTRY)
    own.chmod(0o640)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.fchown", refused)
    added = cli("providers", "add", "github")
    assert (added.exit_code, "may belong to another user" in added.stderr) == (0, True)
    assert own.stat().st_mode & 0o777 == 0o640
    assert set(load_providers(own, {}).names) == {"github", "shop"}

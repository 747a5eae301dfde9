"""What an operator is told about entries that load."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.providers.lint import lint, lint_file
from broker.providers.loader import load_text, read_text
from broker.providers.written import as_written

SHIPPED = Path(__file__).parents[2] / "providers.yaml"
COMPLETE: dict[str, Any] = {
    "display_name": "Example",
    "documentation": "https://example.test/docs",
    "authorization_endpoint": "https://example.test/authorize",
    "token_endpoint": "https://example.test/token",
    "revocation": {"endpoint": "https://example.test/revoke"},
    "client_id": "${EXAMPLE_ID}",
    "client_secret": "${EXAMPLE_SECRET}",
    "scopes": {"read": "Read your mail"},
    "default_scopes": ["read"],
    "refresh": {"rotation": "none"},
    "identity": {"url": "https://example.test/me", "id": "/id"},
    "api": {"base_url": "https://api.example.test"},
    "env": {"EXAMPLE_TOKEN": "{access_token}"},
    "git": {"hosts": ["git.example.test"]},
}
KEY: dict[str, Any] = {
    "type": "api_key",
    "display_name": "Key",
    "documentation": "https://example.test/docs",
    "credential_help": {"text": "Settings, keys"},
    "identity": {"url": "https://example.test/me", "id": "/id"},
    "api": {"base_url": "https://api.example.test"},
}


def found(base: dict[str, Any], **changes: Any) -> dict[str, str]:
    """Key → level of what is found in ``base`` with ``changes``; ``None`` leaves a key out."""
    entry = {name: value for name, value in {**base, **changes}.items() if value is not None}
    text = yaml.safe_dump({"providers": {"example": entry}})
    (provider,) = load_text(text, Path("providers.yaml"), {})
    return {finding.key: finding.level for finding in lint(provider, as_written(text))}


def test_of_an_entry_that_says_it_all_there_is_nothing_to_say() -> None:
    """Also while its variables are not set."""
    assert found(COMPLETE) == {}
    assert found(KEY) == {}


@pytest.mark.parametrize(
    ("changes", "key", "level"),
    [
        ({"scopes": {"read": ""}}, "scopes.read", "problem"),
        ({"scopes": {"read": "read"}}, "scopes.read", "problem"),
        ({"scopes": {"read": "read your mail"}}, "scopes.read", "note"),
        ({"scopes": None}, "scopes", "note"),
        ({"documentation": None}, "documentation", "note"),
        ({"identity": None}, "identity", "note"),
        ({"revocation": None}, "revocation", "note"),
        ({"refresh": None}, "refresh.rotation", "note"),
        ({"code_challenge_method": "none"}, "code_challenge_method", "note"),
        ({"api": None}, "api.base_url", "note"),
        ({"client_secret": "s3cret"}, "client_secret", "note"),
        ({"env": {"PATH": "{access_token}"}}, "env.PATH", "problem"),
        ({"env": {"A B": "{access_token}"}}, "env.A B", "problem"),
        ({"env": {"TOKEN": "token"}}, "env.TOKEN", "problem"),
        ({"env": {"TOKEN": "{access_token}{other}"}}, "env.TOKEN", "problem"),
        ({"git": {"hosts": ["https://git.example.test"]}}, "git.hosts", "problem"),
        ({"device": {"mode": "native"}}, "device.mode", "problem"),
        ({"device": {"scope_allowlist": ["write"]}}, "device.scope_allowlist", "problem"),
    ],
)
def test_what_an_operator_wants_to_know_is_said(changes: dict[str, Any], key: str, level: str) -> None:
    """Each with its key, and nothing besides."""
    assert found(COMPLETE, **changes) == {key: level}


def test_what_never_leaves_is_no_use_to_programs() -> None:
    """``env`` and ``git`` of an entry whose tokens stay inside; without an API it is of no use at all."""
    assert found(COMPLETE, release="proxy_only") == {"env": "problem", "git": "problem"}
    sealed = found(COMPLETE, release="proxy_only", api=None, env=None, git=None)
    assert sealed == {"api": "problem", "api.base_url": "note"}


def test_keys_are_asked_for_with_a_word_on_where_they_are() -> None:
    """A form is all that a person sees; where nothing is handed in, there is nothing to explain."""
    assert found(KEY, credential_help=None) == {"credential_help": "note"}
    assert found(KEY, type="none", credential_help=None, identity=None) == {}


def test_what_an_issuer_may_say_is_not_missed() -> None:
    """Its metadata can name the revocation endpoint and the UserInfo; the latter serves ``openid`` only."""
    discovers = {"issuer": "${ISSUER}", "authorization_endpoint": None, "token_endpoint": None, "revocation": None}
    assert found(COMPLETE, **discovers) == {}
    assert found(COMPLETE, **discovers, identity=None) == {"identity": "note"}
    scopes = {"openid": "Know that it is you"}
    assert found(COMPLETE, **discovers, identity=None, scopes=scopes, default_scopes=["openid"]) == {}


def test_a_stray_mark_has_to_be_mended() -> None:
    """It is named by its line."""
    (finding,) = lint_file(as_written("providers:\n  # unverified\n  one: {display_name: One}\n"))
    assert (finding.level, finding.provider) == ("problem", "")
    assert "line 2" in finding.message


def test_no_message_repeats_a_value() -> None:
    """Findings are shown and logged."""  # K4
    text = yaml.safe_dump(
        {"providers": {"example": {**COMPLETE, "client_secret": "canary-1", "env": {"A": "canary-2"}}}}
    )
    (provider,) = load_text(text, Path("providers.yaml"), {})
    assert "canary" not in repr(lint(provider, as_written(text)))


def test_nothing_has_to_be_mended_in_the_shipped_file() -> None:
    """Every entry lints, every scope has its sentence, and no mark stands beside the values."""
    text = read_text(SHIPPED)
    written = as_written(text)
    assert lint_file(written) == ()
    for provider in load_text(text, SHIPPED, {}):
        assert [finding for finding in lint(provider, written) if finding.level == "problem"] == []
    assert len(written.marks) == text.count("  # unverified")

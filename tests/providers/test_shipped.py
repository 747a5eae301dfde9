"""The ``providers.yaml`` that is shipped loads, is complete, and holds nobody's credentials."""

from pathlib import Path

import pytest

from broker.providers import Registry, load_providers

FILE = Path(__file__).parents[2] / "providers.yaml"
VARIABLES = {
    "github": ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"),
    "gmail": ("GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"),
    "notion": ("NOTION_CLIENT_ID", "NOTION_CLIENT_SECRET"),
    "oidc-example": ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"),
    "slack": ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET"),
    "slack-user": ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET"),
}
SCOPES = {
    "github": {"repo", "read:org", "workflow"},
    "gmail": {f"https://www.googleapis.com/auth/gmail.{name}" for name in ("readonly", "modify", "send")},
    "notion": set(),
    "oidc-example": {"openid"},
    "slack": {"chat:write", "channels:read", "files:write", "users:read"},
    "slack-user": {"chat:write", "channels:read", "files:write", "users:read"},
}


@pytest.fixture
def unset() -> Registry:
    return load_providers(FILE, {})


@pytest.fixture
def ready() -> Registry:
    values = {name: "https://id.example" for names in VARIABLES.values() for name in names}
    return load_providers(FILE, values)


def test_without_environment_all_are_listed_with_what_is_missing(unset: Registry) -> None:
    """A fresh clone shows what can be connected and which variables each provider waits for."""
    assert {provider.name: provider.missing_variables for provider in unset} == VARIABLES
    assert not any(provider.ready for provider in unset)


def test_with_their_variables_all_are_ready(ready: Registry) -> None:
    """Nothing else has to be set."""
    assert [provider.name for provider in ready if not provider.ready] == []


def test_every_scope_has_its_sentence(unset: Registry) -> None:
    """A person reads what a scope means, not its name; and what is asked for by default is explained."""
    for provider in unset:
        assert SCOPES[provider.name] <= provider.scopes.keys()
        assert set(provider.default_scopes) <= provider.scopes.keys()
        for scope, sentence in provider.scopes.items():
            assert len(sentence.split()) > 2, (provider.name, scope)
            assert sentence[0].isupper()


def test_what_makes_them_differ_is_data(ready: Registry) -> None:
    """Separators, encodings, authentication, PKCE, revocation, and where a token stands in the answer."""
    github, gmail, notion = ready.get("github"), ready.get("gmail"), ready.get("notion")
    slack, slack_user = ready.get("slack"), ready.get("slack-user")
    assert (slack.scope_separator, slack.code_challenge_method) == (",", "none")
    assert (slack_user.scope_param, slack_user.token_response.access_token) == (
        "user_scope",
        "/authed_user/access_token",
    )
    assert (notion.token_body, notion.token_endpoint_auth_method) == ("json", "client_secret_basic")
    assert "Notion-Version" in notion.token_headers
    assert github.token_headers == {"Accept": "application/json"}
    assert github.authorization_response_iss == "https://github.com/login/oauth"
    assert gmail.authorization_params == {"access_type": "offline", "prompt": "consent"}
    rules = {p.name: p.revocation for p in ready if p.revocation}
    assert {name: (rule.style, rule.effect, rule.token_to_send) for name, rule in rules.items()} == {
        "github": ("basic_delete_json", "grant", "access_token"),
        "gmail": ("rfc7009", "grant", "refresh_token"),
        "notion": ("rfc7009_json", "token", "access_token"),
        "slack": ("bearer_post", "grant", "access_token"),
        "slack-user": ("bearer_post", "grant", "access_token"),
    }


def test_rotation_is_stated_wherever_refresh_tokens_are_known(unset: Registry) -> None:
    """The refresh policy of each real provider is a decision, not a default."""  # P10
    assert {p.name: p.refresh.rotation for p in unset} == {
        "github": "strict",
        "gmail": "none",
        "notion": "revoke_on_reuse",
        "oidc-example": "unknown",
        "slack": "strict",
        "slack-user": "strict",
    }

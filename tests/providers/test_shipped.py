"""The ``providers.yaml`` that is shipped loads, is complete, and holds nobody's credentials.

What single entries say is not repeated here; how each behaves against its provider's quirks tests/templates shows.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from broker.providers import Registry, load_providers
from broker.providers.schema import Provider

FILE = Path(__file__).parents[2] / "providers.yaml"
MARK = re.compile(r"^ +(?:- )?[\w:/.-]+: +[^#\s][^#]*  # unverified(: [^#]+)?$")
"""A value that no documentation confirmed: its key, the value, and what is known of it."""
VARIABLE = re.compile(r"([A-Z]+(?:_[A-Z]+)*?)_(ISSUER|CLIENT_ID|CLIENT_SECRET|PRIVATE_KEY)")
SECRETS = ("client_secret", "private_key")


@pytest.fixture
def text() -> str:
    return FILE.read_text(encoding="utf-8")


@pytest.fixture
def entries(text: str) -> Mapping[str, Mapping[str, object]]:
    """As they are written, before anything is inherited or filled in."""
    written: Mapping[str, Mapping[str, object]] = yaml.safe_load(text)["providers"]
    return written


@pytest.fixture
def unset() -> Registry:
    return load_providers(FILE, {})


@pytest.fixture
def ready(unset: Registry, app_key: str) -> Registry:
    names = {name for provider in unset for name in provider.missing_variables}
    return load_providers(FILE, {name: app_key if name.endswith("_KEY") else "https://id.example" for name in names})


def addresses(provider: Provider) -> list[str]:
    """Every address that is called, or that a person is sent to."""
    found = (
        provider.documentation,
        provider.issuer,
        provider.authorization_endpoint,
        provider.token_endpoint,
        provider.device_authorization_endpoint,
        provider.revocation and provider.revocation.endpoint,
        provider.identity and provider.identity.url,
        provider.api and provider.api.base_url,
        provider.credential_help and provider.credential_help.url,
    )
    return [address for address in found if address]


def test_what_people_connect_is_there(unset: Registry) -> None:
    """The services that the broker is made for, each with every kind of credential that it hands out."""
    assert {provider.name for provider in unset} >= {
        *("gmail", "google-calendar", "google-workspace", "google-service-account"),
        *("microsoft", "microsoft-teams", "jira", "jira-token", "hubspot", "hubspot-token"),
        *("slack", "slack-user", "slack-token", "notion", "notion-token", "linear", "linear-key"),
        *("github", "github-app", "github-app-user", "github-token", "clickup", "clickup-token", "aws"),
    }


def test_without_environment_all_are_listed_with_what_is_missing(unset: Registry) -> None:
    """A fresh clone shows what can be connected. Ready is at once what needs no app; the rest says what it waits for,
    under names of one form and with one prefix."""
    for provider in unset:
        needs_app = provider.type in {"oauth2", "github_app"}
        assert provider.ready is not needs_app, provider.name
        found = [VARIABLE.fullmatch(name) for name in provider.missing_variables]
        assert all(found), (provider.name, provider.missing_variables)
        assert len({match[1] for match in found if match}) == needs_app, provider.name


def test_with_their_variables_all_are_ready(ready: Registry) -> None:
    """Nothing else has to be set."""
    assert [provider.name for provider in ready if not provider.ready] == []


def test_no_secret_stands_in_the_file(entries: Mapping[str, Mapping[str, object]]) -> None:
    """Secrets and client ids come by variables alone, which have no defaults."""  # K1
    for name, entry in entries.items():
        for key in (*SECRETS, "client_id"):
            assert re.fullmatch(r"\$\{[A-Z_]+\}", str(entry.get(key, "${NONE}"))), (name, key)


def test_everything_is_called_over_tls(ready: Registry) -> None:
    """No address is plain HTTP, and every entry says where its provider documents it."""
    for provider in ready:
        assert all(address.startswith("https://") for address in addresses(provider)), provider.name
        assert provider.documentation or provider.issuer, provider.name


def test_every_scope_has_its_sentence(unset: Registry) -> None:
    """A person reads what a scope means, not its name; and what is asked for by default is explained, and not all."""
    for provider in unset:
        assert set(provider.default_scopes) <= provider.scopes.keys(), provider.name
        assert not provider.scopes or len(provider.default_scopes) < len(provider.scopes), provider.name
        for scope, sentence in provider.scopes.items():
            assert len(sentence.split()) > 1, (provider.name, scope)
            assert sentence[0].isupper(), (provider.name, scope)
            assert not sentence.endswith("."), (provider.name, scope)


def test_each_credential_can_be_tested(unset: Registry) -> None:
    """By a whoami that names the account, by what is issued for the credential, or by discovered UserInfo."""  # G2
    for provider in unset:
        assert provider.identity or provider.kind.issues or "OIDC_ISSUER" in provider.missing_variables, provider.name


def test_who_hands_in_a_credential_is_told_where_it_is(unset: Registry) -> None:
    """The connect page and refusals say it in the provider's own words."""
    handed_in = [provider for provider in unset if provider.type != "oauth2"]
    assert handed_in
    for provider in handed_in:
        assert provider.credential_help, provider.name
        assert all(rule.label for rule in provider.credential_fields.values())


def test_every_entry_can_be_used_by_proxy_and_exec(ready: Registry) -> None:
    """The API's address is known, except an unknown provider's; a variable holds a token, where there is one."""
    for provider in ready:
        assert provider.api or provider.issuer, provider.name
        assert not provider.env or provider.hands_out_tokens, provider.name
        assert set(provider.env.values()) <= {"{access_token}"}, provider.name


def test_rotation_is_stated_wherever_refresh_tokens_are_used(ready: Registry) -> None:
    """The refresh policy of each real provider is a decision, not a default."""  # P10
    undecided = {p.name for p in ready if "refresh_token" in p.grant_types and p.refresh.rotation == "unknown"}
    assert undecided == {"oidc-example"}


def test_what_is_unverified_is_marked_on_the_line_of_its_key(text: str) -> None:
    """One mark a line, at the end of it: that is what a check of the file reads."""
    lines = [line for line in text.splitlines() if "unverified" in line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not MARK.fullmatch(line)] == []


def test_what_makes_them_differ_is_data(ready: Registry) -> None:
    """Separators, encodings, authentication, PKCE, revocation, where a token stands, and how one asks who it is."""
    slack, slack_user, notion = ready.get("slack"), ready.get("slack-user"), ready.get("notion")
    assert (slack.scope_separator, slack.code_challenge_method) == (",", "none")
    assert (slack_user.scope_param, slack_user.token_response.access_token) == (
        "user_scope",
        "/authed_user/access_token",
    )
    assert (notion.token_body, notion.token_endpoint_auth_method) == ("json", "client_secret_basic")
    assert ready.get("github").authorization_response_iss == "https://github.com/login/oauth"
    assert ready.get("gmail").authorization_params == {"access_type": "offline", "prompt": "consent"}
    assert ready.get("microsoft").refresh_params == {"scope": "{scope} offline_access"}
    assert (ready.get("microsoft").parameters["tenant"].default, ready.get("microsoft-teams").scopes) == (
        "common",
        ready.get("microsoft").scopes,
    )
    assert ready.get("linear-key").identity == ready.get("linear").identity
    rules = {p.name: p.revocation for p in ready if p.revocation}
    styles = {(rule.style, rule.effect, rule.token_to_send) for rule in rules.values()}
    assert styles == {
        ("basic_delete_json", "grant", "access_token"),
        ("bearer_post", "grant", "access_token"),
        ("rfc7009", "grant", "refresh_token"),
        ("rfc7009", "token", "refresh_token"),
        ("rfc7009_json", "token", "access_token"),
    }


def test_entries_that_share_an_app_share_its_variables(unset: Registry) -> None:
    """One app is registered once: what extends another asks for nothing new, unless it says whose app it is."""
    variables = {provider.name: provider.missing_variables for provider in unset}
    assert variables["google-calendar"] == variables["google-workspace"] == variables["gmail"]
    assert variables["slack-user"] == variables["slack"]
    assert variables["microsoft-teams"] == variables["microsoft"]
    assert variables["github-app-user"][0] == variables["github-app"][0] != variables["github"][0]

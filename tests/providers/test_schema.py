"""What an entry may say, and what it may not."""

import pytest

from broker.providers import Provider
from tests.providers.conftest import Faults, Load

ENTRY = "providers:\n  a:\n    display_name: A\n    issuer: https://a.example\n    client_id: x\n    client_secret: y\n"


@pytest.mark.parametrize(
    "kind",
    ["mcp", "oauth"],
)
def test_types_of_a_later_version_are_refused_with_that_reason(faults: Faults, kind: str) -> None:
    """The type's own keys, which this version doesn't know either, are not held against the entry."""
    found = faults(f"{ENTRY}    type: {kind}\n    api_key: {{in: header}}\n")
    assert len(found) == 1
    assert found[0].startswith("providers.yaml:7: providers.a.type: is not supported by this version, which knows ")


def test_private_key_jwt_is_refused_with_that_reason(faults: Faults) -> None:
    """It is a valid method that comes later; an unknown one is just unknown."""
    assert (
        "private_key_jwt is not supported by this version"
        in faults(f"{ENTRY}    token_endpoint_auth_method: private_key_jwt")[0]
    )
    assert "input should be" in faults(f"{ENTRY}    token_endpoint_auth_method: magic")[0]


@pytest.mark.parametrize(
    ("field", "names"),
    [
        (
            "authorization_params",
            "client_id redirect_uri response_type state code_challenge code_challenge_method nonce request request_uri",
        ),
        (
            "token_params",
            "client_id client_secret code redirect_uri grant_type code_verifier refresh_token client_assertion",
        ),
        ("refresh_params", "client_id client_secret grant_type refresh_token"),
    ],
)
def test_parameters_of_the_protocol_cannot_be_overridden(faults: Faults, field: str, names: str) -> None:
    """State, PKCE and credentials are the broker's business; each offending key is named."""
    for name in names.split():
        assert faults(f"{ENTRY}    {field}:\n      fine: x\n      {name}: x\n") == [
            f"providers.yaml:9: providers.a.{field}.{name}: belongs to the protocol and can't be overridden here"
        ]


def test_a_default_scope_must_be_among_the_scopes(faults: Faults, load: Load) -> None:
    """Where scopes are listed at all: a typing error would otherwise show up at the provider."""
    assert faults(f"{ENTRY}    scopes: {{repo: R}}\n    default_scopes: [repo, reop]") == [
        "providers.yaml:8: providers.a.default_scopes: item 2 is not among scopes (did you mean repo?)"
    ]
    assert load(f"{ENTRY}    default_scopes: [anything]").get("a").default_scopes == ("anything",)


@pytest.mark.parametrize(
    "address",
    [
        "http://a.example",
        "https://",
        "https:///path",
        "https://user:pw@a.example",
        "https://a.example/#f",
        "https://a.example/ b",
        "https://a.example\\\\b",
        "https://[::1",
        "https://a.example:port",
        "http://127.0.0.1.example",
        "ftp://a.example",
        "//a.example",
    ],
)
def test_addresses_are_https_and_unambiguous(faults: Faults, address: str) -> None:
    """No plain http off loopback, no user names, nothing that parsers read differently."""
    found = faults(f'{ENTRY}    token_endpoint: "{address}"')
    assert len(found) == 1
    assert found[0].startswith("providers.yaml:7: providers.a.token_endpoint: must be ")


def test_addresses_may_hold_parameters_that_are_declared(load: Load, faults: Faults) -> None:
    """``{subdomain}`` in the host, a port or the path; an undeclared one is a fault."""
    text = f'{ENTRY}    parameters: {{sub: {{label: S}}}}\n    token_endpoint: "http://localhost:{{sub}}/{{sub}}"\n'
    assert load(text).get("a").token_endpoint == "http://localhost:{sub}/{sub}"
    assert "token_endpoint uses {sub}" in faults(text.replace("{sub: {label", "{sup: {label"))[0]


def test_an_issuer_is_enough_and_nothing_is_not(load: Load, faults: Faults) -> None:
    """Endpoints left out are discovered from the issuer; without one they are required."""
    assert load(ENTRY).get("a").token_endpoint is None
    assert faults(ENTRY.replace("    issuer: https://a.example\n", "")) == [
        "providers.yaml:2: providers.a: token_endpoint and authorization_endpoint missing, no issuer to discover from"
    ]


def test_fields_that_the_loader_sets_are_unknown_keys(faults: Faults) -> None:
    """A file can't name an entry otherwise than by its key, nor claim that variables are missing."""
    assert faults(f"{ENTRY}    name: b\n    missing_variables: []\n") == [
        "providers.yaml:7: providers.a.name: unknown key",
        "providers.yaml:8: providers.a.missing_variables: unknown key",
    ]


def test_headers_cannot_be_split(faults: Faults) -> None:
    """Neither a name nor a value, also from a variable, can smuggle a second header in."""
    found = faults(f'{ENTRY}    token_headers: {{"X: y": "1", X-Z: "${{H}}"}}', {"H": "a\r\nX-Evil: 1"})
    assert [fault.rpartition(": ")[2] for fault in found] == [
        "is not a header name (RFC 9110 §5.1)",
        "a header value has no line breaks or control characters (RFC 9110 §5.5)",
    ]


def test_missing_names_what_to_set(load: Load) -> None:
    """Keys that are simply absent are named too; a public client needs no secret."""
    bare = ENTRY.replace("    client_id: x\n    client_secret: y\n", "")
    assert load(bare).get("a").missing == ("client_id", "client_secret")
    public = load(f"{bare}    client_id: x\n    token_endpoint_auth_method: none\n").get("a")
    assert public.ready


def test_a_get_carries_no_body(faults: Faults, load: Load) -> None:
    """A query in the body of a GET would never arrive."""
    entry = "providers:\n  a:\n    issuer: https://a.example\n    display_name: A\n    identity: {%s}\n"
    asked = "url: https://a.example/me, id: /id, body: {query: me}"
    assert "method says GET" in faults(entry % asked)[0]
    identity = load(entry % f"{asked}, method: POST").get("a").identity
    assert identity is not None
    assert identity.body == {"query": "me"}


def test_a_pattern_must_compile(faults: Faults) -> None:
    """A faulty regular expression is found at the start, not when a person types."""
    found = faults(f'{ENTRY}    parameters: {{sub: {{label: S, pattern: "("}}}}')
    assert found == ["providers.yaml:7: providers.a.parameters.sub: pattern is not a regular expression (position 0)"]


def test_a_provider_is_frozen(load: Load) -> None:
    """Nothing changes an entry after the start."""
    provider: Provider = load(ENTRY).get("a")
    with pytest.raises(ValueError, match="frozen"):
        setattr(provider, "issuer", None)  # noqa: B010 - the type checker refuses the plain form, too


def test_own_words_for_a_device_login_mean_one_of_the_rfcs(load: Load, faults: Faults) -> None:
    """The four of RFC 8628 §3.5, and no code means two things."""  # D2
    known = ["authorization_pending", "slow_down", "access_denied", "expired_token"]
    for meaning in known:
        entry = load(f"{ENTRY}    token_response: {{device_errors: {{own_word: {meaning}}}}}").get("a")
        assert entry.token_response.device_errors == {"own_word": meaning}
    at = "providers.yaml:7: providers.a.token_response"
    (unknown,) = faults(f"{ENTRY}    token_response: {{device_errors: {{own_word: invalid_grant}}}}")
    assert unknown.startswith(f"{at}.device_errors.own_word: ")
    assert faults(f"{ENTRY}    token_response: {{device_errors: {{gone: expired_token}}, invalid_grant: [gone]}}") == [
        f"{at}: invalid_grant and device_errors have an error code in common"
    ]

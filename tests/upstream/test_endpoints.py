"""Entry, parameters and metadata put together: what wins, and whom to trust."""

import pytest

from broker.errors import ProviderError
from broker.upstream.endpoints import Endpoint, IdentityEndpoint, RevocationEndpoint, needs_discovery, resolve
from broker.upstream.metadata import Metadata
from tests.upstream.conftest import provider_at

ISSUER = "https://provider.test"
FOUND = Metadata(
    issuer=ISSUER,
    authorization_endpoint=f"{ISSUER}/found/authorize",
    token_endpoint=f"{ISSUER}/found/token",
    device_authorization_endpoint="https://devices.test/found",
    revocation_endpoint=f"{ISSUER}/found/revoke",
    userinfo_endpoint=f"{ISSUER}/found/userinfo",
)
DISCOVERED = {"issuer": ISSUER, "authorization_endpoint": None, "token_endpoint": None}
SUBDOMAIN = {"subdomain": {"label": "Your subdomain"}}


def test_everything_written() -> None:
    """An entry that says it all is taken by its word, whatever metadata says."""
    provider = provider_at(
        ISSUER,
        issuer=ISSUER,
        device_authorization_endpoint=f"{ISSUER}/device",
        revocation={"endpoint": f"{ISSUER}/apps/{{client_id}}", "style": "bearer_post", "effect": "grant"},
        client_id="id/1",
        identity={
            "url": f"{ISSUER}/me",
            "id": "/id",
            "method": "POST",
            "body": {"query": "me"},
            "error": "/errors/0",
            "invalid_token": ["gone"],
        },
        token_endpoint_auth_method="client_secret_basic",
    )
    endpoints = resolve(provider, {}, FOUND)
    assert endpoints.authorization == f"{ISSUER}/authorize"
    assert endpoints.token == Endpoint(f"{ISSUER}/token", trusted=True)
    assert endpoints.device_authorization == Endpoint(f"{ISSUER}/device", trusted=True)
    assert endpoints.revocation == RevocationEndpoint(
        f"{ISSUER}/apps/id%2F1", True, "bearer_post", "access_token", "grant"
    )
    assert endpoints.identity == IdentityEndpoint(
        f"{ISSUER}/me", True, "POST", "/id", (), {}, {"query": "me"}, "/errors/0", ("gone",)
    )


def test_everything_discovered() -> None:
    """What the entry leaves out comes from metadata, with the standard's own rules."""
    endpoints = resolve(provider_at(ISSUER, **DISCOVERED), {}, FOUND)
    assert endpoints.authorization == f"{ISSUER}/found/authorize"
    assert endpoints.token == Endpoint(f"{ISSUER}/found/token", trusted=True)
    assert endpoints.revocation == RevocationEndpoint(
        f"{ISSUER}/found/revoke", True, "rfc7009", "refresh_token", "token"
    )
    assert endpoints.identity == IdentityEndpoint(
        f"{ISSUER}/found/userinfo", True, "GET", "/sub", ("/email", "/name"), {}, userinfo=True
    )


@pytest.mark.parametrize(
    ("rule", "token"),
    [
        ({}, "refresh_token"),
        ({"style": "rfc7009"}, "refresh_token"),
        ({"style": "rfc7009_json"}, "refresh_token"),
        ({"style": "bearer_post"}, "access_token"),
        ({"style": "basic_delete_json"}, "access_token"),
        ({"style": "rfc7009_json", "token": "access_token"}, "access_token"),
        ({"style": "bearer_post", "token": "refresh_token"}, "refresh_token"),
        ({"style": "basic_delete_json", "token": None}, "access_token"),
    ],
)
def test_which_token_is_given_back(rule: dict[str, object], token: str) -> None:
    """As the entry says; where it says nothing, what the style can carry."""
    provider = provider_at(ISSUER, revocation={"endpoint": f"{ISSUER}/revoke", **rule})
    revocation = resolve(provider, {}, None).revocation
    assert revocation is not None
    assert revocation.token == token


def test_discovered_elsewhere_is_not_trusted() -> None:
    """Only what stands on the origin of the operator's issuer counts as written by the operator."""  # E1
    endpoints = resolve(provider_at(ISSUER, **DISCOVERED), {}, FOUND)
    assert endpoints.device_authorization == Endpoint("https://devices.test/found", trusted=False)


def test_a_users_host_is_not_trusted() -> None:
    """Neither the endpoints on a host that a user supplies a part of, nor what its issuer publishes."""  # E1
    template = "https://{subdomain}.provider.test"
    values = {"subdomain": "acme"}
    written = resolve(provider_at(template, parameters=SUBDOMAIN), values, None)
    assert written.token == Endpoint("https://acme.provider.test/token", trusted=False)
    issuer = "https://acme.provider.test"
    found = Metadata(issuer=issuer, token_endpoint=f"{issuer}/token")
    provider = provider_at(ISSUER, parameters=SUBDOMAIN, **{**DISCOVERED, "issuer": template})
    endpoints = resolve(provider, values, found)
    assert endpoints.token == Endpoint(f"{issuer}/token", trusted=False)
    assert endpoints.issuer == issuer


def test_a_users_path_is_trusted() -> None:
    """A parameter in the path leaves the host to the operator."""
    provider = provider_at(f"{ISSUER}/{{subdomain}}", parameters=SUBDOMAIN)
    assert resolve(provider, {"subdomain": "acme"}, None).token == Endpoint(f"{ISSUER}/acme/token", trusted=True)


def test_a_token_endpoint_there_must_be() -> None:
    """Metadata that names none is no use."""
    with pytest.raises(ProviderError, match="token endpoint"):
        resolve(provider_at(ISSUER, **DISCOVERED), {}, Metadata(issuer=ISSUER))


@pytest.mark.parametrize(
    ("entry", "advertised", "expected", "required"),
    [
        ({}, False, None, False),
        ({"authorization_response_iss": "https://iss.test/x"}, False, "https://iss.test/x", True),
        ({"issuer": ISSUER}, False, ISSUER, False),
        ({"issuer": ISSUER}, True, ISSUER, True),
        ({"issuer": ISSUER, "authorization_response_iss": "https://iss.test"}, False, "https://iss.test", True),
    ],
)
def test_which_issuer_is_expected(
    entry: dict[str, str], advertised: bool, expected: str | None, required: bool
) -> None:
    """RFC 9207: what the entry says, else the issuer; required where either side says it's always sent."""  # B7
    metadata = Metadata(issuer=ISSUER, authorization_response_iss_parameter_supported=advertised)
    endpoints = resolve(provider_at(ISSUER, **entry), {}, metadata)
    assert (endpoints.issuer, endpoints.issuer_required) == (expected, required)


@pytest.mark.parametrize(
    ("written", "offered", "method"),
    [
        (None, None, "client_secret_basic"),
        (None, ("client_secret_basic", "client_secret_post"), "client_secret_basic"),
        (None, ("client_secret_post",), "client_secret_post"),
        (None, ("private_key_jwt",), "client_secret_basic"),
        ("client_secret_basic", ("client_secret_post",), "client_secret_basic"),
        ("client_secret_post", ("client_secret_basic",), "client_secret_post"),
        ("none", ("client_secret_post",), "none"),
    ],
)
def test_how_the_client_authenticates(written: str | None, offered: tuple[str, ...] | None, method: str) -> None:
    """As the entry says; where it says nothing, as the metadata allows."""
    entry = {} if written is None else {"token_endpoint_auth_method": written}
    metadata = Metadata(issuer=ISSUER, token_endpoint_auth_methods_supported=offered)
    assert resolve(provider_at(ISSUER, **entry), {}, metadata).token_auth_method == method


@pytest.mark.parametrize(
    ("entry", "needed"),
    [
        ({}, False),
        ({"issuer": ISSUER}, False),
        ({"issuer": ISSUER, "token_endpoint": None}, True),
        ({"issuer": ISSUER, "authorization_endpoint": None}, True),
        ({"issuer": ISSUER, "authorization_endpoint": None, "grant_types": ["client_credentials"]}, False),
        ({"issuer": ISSUER, "grant_types": ["device_code"]}, True),
        ({"grant_types": ["device_code"]}, False),
    ],
)
def test_when_to_discover(entry: dict[str, object], needed: bool) -> None:
    """Only where an endpoint that a grant needs is left out."""
    assert needs_discovery(provider_at(ISSUER, **entry)) is needed

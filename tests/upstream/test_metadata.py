"""Authorization server metadata: where it stands, and when it must not be used."""

import pytest

from broker.errors import AddressRefused, ProviderError
from broker.upstream import metadata
from broker.upstream.metadata import Metadata, same_origin, well_known_addresses

ISSUER = "https://provider.test"
FOUND_AT = f"{ISSUER}/.well-known/oauth-authorization-server"


def parse_metadata(issuer: str, document: dict[str, object]) -> Metadata:
    """Read a document that was found where it should be."""
    return metadata.parse_metadata(issuer, document, found_at=FOUND_AT)


def test_where_metadata_stands() -> None:
    """RFC 8414 §3.1 and OpenID Connect Discovery §4: inserted before the path, then appended to it."""
    without_path = [
        "https://provider.test/.well-known/oauth-authorization-server",
        "https://provider.test/.well-known/openid-configuration",
    ]
    assert well_known_addresses("https://provider.test") == without_path
    assert well_known_addresses("https://provider.test/") == without_path
    assert well_known_addresses("https://provider.test:8443/realms/one/") == [
        "https://provider.test:8443/.well-known/oauth-authorization-server/realms/one",
        "https://provider.test:8443/.well-known/openid-configuration/realms/one",
        "https://provider.test:8443/realms/one/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize("issuer", ["http://provider.test", "https://u@provider.test", "https://provider.test/#a", ""])
def test_an_issuer_that_is_never_called(issuer: str) -> None:
    """An issuer is an https address like any other."""  # E4
    with pytest.raises(AddressRefused):
        well_known_addresses(issuer)


def test_an_issuer_has_no_query() -> None:
    """RFC 8414 §2."""
    for issuer in ("https://provider.test/?a=b", "https://provider.test/?"):
        with pytest.raises(ProviderError):
            well_known_addresses(issuer)


def test_what_a_client_uses_is_read() -> None:
    """Known fields are taken, others and malformed lists are passed over."""
    assert parse_metadata(
        ISSUER,
        {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": "https://tokens.test/token",
            "userinfo_endpoint": None,
            "code_challenge_methods_supported": ["S256", 7],
            "token_endpoint_auth_methods_supported": "client_secret_post",
            "authorization_response_iss_parameter_supported": "true",
            "registration_endpoint": "http://ignored.test",
        },
    ) == Metadata(
        issuer=ISSUER,
        authorization_endpoint=f"{ISSUER}/authorize",
        token_endpoint="https://tokens.test/token",
        code_challenge_methods_supported=("S256",),
    )


@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://PROVIDER.test", "https://evil.test", None, [ISSUER]])
def test_metadata_of_another_issuer_is_refused(issuer: object) -> None:
    """RFC 8414 §3.3: identical, or not used."""  # E4
    with pytest.raises(ProviderError, match="another issuer"):
        parse_metadata(ISSUER, {"issuer": issuer, "token_endpoint": f"{ISSUER}/token"})


@pytest.mark.parametrize(
    ("issuer", "named"),
    [
        ("https://evil.test/", "https://evil.test/"),
        (f"https://evil.test/\r\n\x1b[2J{300 * 'x'}", f"https://evil.test/[2J{179 * 'x'}"),
        (None, "none that can be shown"),
        ([ISSUER], "none that can be shown"),
    ],
    ids=["another", "hostile", "none", "a list"],
)
def test_who_mends_it_reads_what_was_found_where(issuer: object, named: str) -> None:
    """The address that was asked, the issuer there and the one expected; a stranger's words are printable and short."""
    with pytest.raises(ProviderError) as refused:
        parse_metadata(ISSUER, {"issuer": issuer})
    assert refused.value.detail == (
        f"the metadata at {FOUND_AT} names another issuer than the one that was asked: {named}, and not {ISSUER}"
    )


@pytest.mark.parametrize(
    "name",
    [
        "authorization_endpoint",
        "token_endpoint",
        "device_authorization_endpoint",
        "revocation_endpoint",
        "userinfo_endpoint",
    ],
)
@pytest.mark.parametrize(
    "endpoint",
    ["http://provider.test/x", "http://127.0.0.1/x", "javascript:alert(1)", "/x", "https://u:p@provider.test/", 7, ""],
)
def test_an_endpoint_that_is_not_https_spoils_the_whole(name: str, endpoint: object) -> None:
    """One such endpoint, and nothing of the metadata is used."""  # E4
    with pytest.raises(ProviderError, match=name):
        parse_metadata(ISSUER, {"issuer": ISSUER, name: endpoint})


def test_loopback_metadata_stays_on_loopback() -> None:
    """Plain http is fine where the issuer is plain http itself, which only this machine may be."""
    issuer = "http://127.0.0.1:9000"
    found = parse_metadata(issuer, {"issuer": issuer, "token_endpoint": f"{issuer}/token"})
    assert found.token_endpoint == f"{issuer}/token"
    with pytest.raises(ProviderError):
        parse_metadata(issuer, {"issuer": issuer, "token_endpoint": "http://provider.test/token"})


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("https://provider.test/a/b", True),
        ("https://PROVIDER.test:443/", True),
        ("https://provider.test:444/", False),
        ("https://a.provider.test/", False),
        ("https://provider.test.evil.test/", False),
    ],
)
def test_same_origin(address: str, same: bool) -> None:
    """Scheme, host and port, nothing else."""
    assert same_origin(address, ISSUER) is same

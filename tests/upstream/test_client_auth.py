"""Client authentication: encoded as the standard asks, and one method at a time."""

import base64

import pytest

from broker.errors import NotSent
from broker.upstream.client_auth import authenticate, basic
from tests.upstream.conftest import provider_at

ORIGIN = "https://provider.test"


def decoded(header: str) -> str:
    """What stands in a Basic header."""
    scheme, _, value = header.partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(value, validate=True).decode("ascii")


def test_basic_encodes_both_halves_first() -> None:
    """RFC 6749 §2.3.1: form encoding, then base64; a colon in the id stays unambiguous."""
    assert decoded(basic("id:1", "s p+c/ä%")) == "id%3A1:s+p%2Bc%2F%C3%A4%25"
    assert decoded(basic("plain-id.1_2~3", "plain")) == "plain-id.1_2~3:plain"


def test_exactly_one_method_is_used() -> None:
    """RFC 6749 §2.3: the secret is in the header or in the body, never in both."""
    provider = provider_at(ORIGIN)
    assert authenticate(provider, "client_secret_basic", {"a": "b"}) == (
        {"authorization": basic("client-one", "client-secret-0123456789")},
        {"a": "b"},
    )
    assert authenticate(provider, "client_secret_post", {"a": "b"}) == (
        {},
        {"a": "b", "client_id": "client-one", "client_secret": "client-secret-0123456789"},
    )
    assert authenticate(provider, "none", {"a": "b"}) == ({}, {"a": "b", "client_id": "client-one"})


@pytest.mark.parametrize("missing", ["client_id", "client_secret"])
def test_an_entry_that_is_not_ready_sends_nothing(missing: str) -> None:
    """The error names what is missing."""
    with pytest.raises(NotSent, match=missing):
        authenticate(provider_at(ORIGIN, **{missing: None}), "client_secret_basic", {})


def test_a_public_client_has_no_secret() -> None:
    """With the method none, the id is enough."""
    provider = provider_at(ORIGIN, client_secret=None, token_endpoint_auth_method="none")
    assert authenticate(provider, "none", {}) == ({}, {"client_id": "client-one"})

"""Keys and passwords: the schemes that only place what was handed in."""

from base64 import b64encode
from typing import Any

import pytest

from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream.schemes.request import Signature, Unsigned
from broker.upstream.schemes.signing import covers_body, sign

REQUEST = Unsigned("GET", "https://api.example.com/")


def signed(kind: str, credential: Credential, **entry: Any) -> Signature:
    """What an entry of that type puts on a request."""
    provider = Provider.model_validate({"name": "own", "display_name": "Own", "type": kind, **entry})
    assert covers_body(provider) == "nothing"
    return sign(provider, {}, credential, REQUEST, now=0)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, Signature({"authorization": "Bearer k-1"})),
        ({"name": "X-Api-Key"}, Signature({"x-api-key": "k-1"})),
        ({}, Signature({"authorization": "k-1"})),
        ({"prefix": "Token"}, Signature({"authorization": "Token k-1"})),
        ({"prefix": "Token "}, Signature({"authorization": "Token k-1"})),
        ({"prefix": "token="}, Signature({"authorization": "token=k-1"})),
        ({"name": "X-Key", "prefix": "v1"}, Signature({"x-key": "v1k-1"})),
        ({"in": "query", "name": "key"}, Signature(query={"key": "k-1"})),
    ],
)
def test_an_api_key_travels_as_its_provider_wants_it(rule: dict[str, str] | None, expected: Signature) -> None:
    """In a header, in the query, behind a word; as a bearer token where nothing is said (RFC 6750 §2.1)."""
    entry = {} if rule is None else {"api_key": rule}
    assert signed("api_key", Credential("k-1", fields={"api_key": "k-1"}), **entry) == expected


@pytest.mark.parametrize(
    ("fields", "pair"),
    [
        ({"username": "ann", "password": "p:w"}, "ann:p:w"),
        ({"username": "ann", "password": "pässword"}, "ann:pässword"),
        ({"username": "ann", "password": "pw", "domain": "CORP"}, "CORP\\ann:pw"),
    ],
)
def test_user_and_password(fields: dict[str, str], pair: str) -> None:
    """RFC 7617, in UTF-8; a domain stands before the user."""
    expected = f"Basic {b64encode(pair.encode()).decode()}"
    assert signed("basic", Credential("", fields=fields)).headers == {"authorization": expected}


def test_nothing_and_tokens() -> None:
    """``none`` adds nothing; what a provider issued is a bearer token."""
    assert signed("none", Credential("")) == Signature()
    app = {"client_id": "a", "api": {"base_url": "https://api.example.com"}}
    assert signed("github_app", Credential("t-1"), **app) == Signature({"authorization": "Bearer t-1"})

"""An API key in a header or in the query, as its provider wants it."""

from typing import Final

from broker.models.connection import Credential
from broker.providers import Provider
from broker.upstream.schemes.request import Signature

_AUTHORIZATION: Final = "authorization"


def sign(provider: Provider, credential: Credential) -> Signature:
    """The key, with its prefix; as a bearer token where the entry doesn't say how it travels."""
    rule, key = provider.api_key, credential.fields["api_key"]
    if rule is None:
        return Signature({_AUTHORIZATION: f"Bearer {key}"})
    if rule.place == "query":
        return Signature(query={rule.name: f"{rule.prefix}{key}"})
    name, prefix = rule.name.lower(), rule.prefix
    if name == _AUTHORIZATION and prefix[-1:].isalnum():
        # A scheme and its credentials are two words (RFC 9110 §11.4), whether or not the entry ends with the space.
        prefix += " "
    return Signature({name: f"{prefix}{key}"})

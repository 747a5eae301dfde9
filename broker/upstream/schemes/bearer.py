"""A bearer token in the header (RFC 6750 §2.1)."""

from broker.models.connection import Credential
from broker.upstream.schemes.request import Signature


def sign(credential: Credential) -> Signature:
    """The access token."""
    return Signature({"authorization": f"Bearer {credential.access_token}"})

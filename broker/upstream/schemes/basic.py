"""User name and password in the header (RFC 7617)."""

from base64 import b64encode

from broker.models.connection import Credential
from broker.upstream.schemes.request import Signature


def sign(credential: Credential) -> Signature:
    """Both, in UTF-8 (RFC 7617 §2.1). A domain stands before the user name, as Windows servers read it."""
    fields = credential.fields
    domain = f"{fields['domain']}\\" if fields.get("domain") else ""
    pair = f"{domain}{fields['username']}:{fields['password']}"
    return Signature({"authorization": f"Basic {b64encode(pair.encode()).decode()}"})

"""Client authentication on a request to the provider (RFC 6749 §2.3)."""

import base64
from urllib.parse import quote_plus

from broker.errors import NotSent
from broker.providers.schema import Provider


def credentials(provider: Provider) -> tuple[str, str]:
    """The client id and secret of ``provider``; the secret is ``""`` for a public client.

    :raises NotSent: the entry lacks one of them.
    """
    if provider.client_id is None or not provider.ready:
        raise NotSent(f"provider {provider.name} is not ready: {', '.join(provider.missing)} missing")
    return provider.client_id, provider.client_secret.get_secret_value() if provider.client_secret else ""


def basic(client_id: str, client_secret: str) -> str:
    """The value of ``Authorization`` for HTTP Basic.

    Both halves are form-encoded first (RFC 6749 §2.3.1): a colon or a non-ASCII character would be ambiguous
    otherwise. Unreserved characters stay as they are, so servers that forget to decode understand it too.
    """
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")


def authenticate(provider: Provider, method: str, fields: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The headers to add, and ``fields`` with what ``method`` puts into the body. Exactly one method is ever
    used.

    :raises NotSent: the entry lacks the client id or secret.
    """
    client_id, client_secret = credentials(provider)
    match method:
        case "client_secret_basic":
            return {"authorization": basic(client_id, client_secret)}, fields
        case "client_secret_post":
            return {}, {**fields, "client_id": client_id, "client_secret": client_secret}
        case _:
            return {}, {**fields, "client_id": client_id}

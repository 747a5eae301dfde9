"""Which scheme a provider's credentials go by."""

from collections.abc import Mapping

from broker.models.connection import Credential
from broker.providers import Provider, placeholders
from broker.upstream.schemes import api_key, basic, bearer
from broker.upstream.schemes.request import Signature, Unsigned


def covers_body(provider: Provider) -> bool:
    """Whether what goes onto a request depends on its body, so that it has to be at hand before anything is sent."""
    parts = [*provider.headers.values(), *provider.query.values(), *(rule.over for rule in provider.computed.values())]
    return provider.type == "aws_sigv4" or any(placeholders(part) & {"body", "body_sha256"} for part in parts)


def sign(
    provider: Provider, values: Mapping[str, str], credential: Credential, request: Unsigned, *, now: int
) -> Signature:
    """What goes onto ``request``.

    :param values: the connection's checked parameters.
    :param now: milliseconds since the epoch.
    :raises InvalidRequest: the request can't be signed as it is.
    """
    match provider.type:
        case "none":
            return Signature()
        case "api_key":
            return api_key.sign(provider, credential)
        case "basic":
            return basic.sign(credential)
        case _:
            return bearer.sign(credential)

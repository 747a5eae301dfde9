"""Which scheme a provider's credentials go by."""

from collections.abc import Mapping
from typing import Literal

from broker.models.connection import Credential
from broker.providers import Provider
from broker.upstream.schemes import api_key, aws_sigv4, basic, bearer, custom
from broker.upstream.schemes.request import Signature, Unsigned

Covered = Literal["nothing", "digest", "body"]


def sign(
    provider: Provider, values: Mapping[str, str], credential: Credential, request: Unsigned, *, now: int
) -> Signature:
    """What goes onto ``request``.

    :param values: the connection's checked parameters.
    :param now: milliseconds since the epoch.
    :raises UnsignableError: the request can't be signed as it is.
    """
    match provider.type:
        case "none":
            return Signature()
        case "api_key":
            return api_key.sign(provider, credential)
        case "basic":
            return basic.sign(credential)
        case "custom":
            return custom.sign(provider, values, credential, request, now=now)
        case "aws_sigv4":
            return aws_sigv4.sign(provider, values, credential, request, now=now)
        case _:
            return bearer.sign(credential)


def covers_body(provider: Provider) -> Covered:
    """What of a request's body its signature covers: ``nothing``, its ``digest``, or the whole ``body``."""
    match provider.type:
        case "aws_sigv4":
            return "digest"
        case "custom":
            used = custom.covers(provider)
            return "body" if "body" in used else "digest" if "body_sha256" in used else "nothing"
        case _:
            return "nothing"

"""The authorization code grant with PKCE (RFC 6749 §4.1, RFC 7636): the way there, and the exchange."""

import re
import secrets
from collections.abc import Sequence

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from broker.clock import Clock
from broker.errors import ProviderError
from broker.providers.schema import Provider
from broker.upstream.client_auth import credentials
from broker.upstream.egress import Egress
from broker.upstream.endpoints import Endpoints
from broker.upstream.token_endpoint import request_token
from broker.upstream.token_response import TokenSet

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def new_verifier() -> str:
    """A code verifier (RFC 7636 §4.1): 64 characters that carry 384 random bits."""
    return secrets.token_urlsafe(48)


def challenge(verifier: str) -> str:
    """The S256 challenge of ``verifier`` (RFC 7636 §4.2).

    :raises ValueError: a verifier has another shape.
    """
    if not _VERIFIER.fullmatch(verifier):
        raise ValueError("a code verifier has 43 to 128 unreserved characters")
    return str(create_s256_code_challenge(verifier))


def authorization_url(
    provider: Provider,
    endpoints: Endpoints,
    *,
    redirect_uri: str,
    state: str,
    scopes: Sequence[str],
    verifier: str,
) -> str:
    """Where to send the browser (RFC 6749 §4.1.1). Our own parameters win over the entry's.

    :raises NotSent: the entry lacks the client id or secret.
    :raises ProviderError: there is no authorization endpoint, or its metadata says that it can't do S256.
    """
    client_id, _ = credentials(provider)
    if endpoints.authorization is None:
        raise ProviderError(f"provider {provider.name} has no authorization endpoint")
    query = {
        **provider.authorization_params,
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
    }
    if scopes:
        query[provider.scope_param] = provider.scope_separator.join(scopes)
    if provider.code_challenge_method == "S256":
        if endpoints.code_challenge_methods is not None and "S256" not in endpoints.code_challenge_methods:
            raise ProviderError(f"provider {provider.name} does not support the code challenge method S256")
        query |= {"code_challenge": challenge(verifier), "code_challenge_method": "S256"}
    return str(add_params_to_uri(endpoints.authorization, query))


async def exchange_code(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    code: str,
    verifier: str,
    redirect_uri: str,
    scopes: Sequence[str],
) -> TokenSet:
    """Redeem ``code`` (RFC 6749 §4.1.3).

    :param scopes: what was asked for in :func:`authorization_url`.
    :raises BrokerError: what :func:`request_token` raises.
    """
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if provider.code_challenge_method == "S256":
        fields["code_verifier"] = verifier
    return await request_token(egress, clock, provider, endpoints, fields, requested_scopes=scopes)

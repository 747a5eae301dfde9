"""Access tokens for a service account: an assertion that it signs, traded at the token endpoint (RFC 7523 §2.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from broker.clock import Clock
from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream.egress import Egress, OutboundRequest
from broker.upstream.endpoints import Endpoints
from broker.upstream.signed_assertion import BACKDATED, sign_assertion
from broker.upstream.token_response import TokenSet, parse_token_response

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIVES: Final = 600
"""Seconds; providers take an hour at most, and it is used at once."""


async def issue(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    credential: Credential,
    scopes: Sequence[str],
) -> TokenSet:
    """A token for the service account, or for the user ``subject`` that it may act for.

    It is asked for at the entry's token endpoint, whatever a key file says of one.

    :raises BrokerError: what :func:`request_token` raises; ``invalid_grant``: the key or the account is no longer
        accepted.
    """
    asked_at = clock()
    assertion = build_assertion(credential.fields, endpoints.issuing.url, scopes, now=asked_at)
    request = build_request(provider, endpoints, assertion)
    answer = await egress.send(request, deadline=provider.timeout, trusted=endpoints.issuing.trusted)
    secrets = [*credential.secrets_without(provider.public_fields), assertion]
    tokens = parse_token_response(provider, answer, requested_scopes=scopes, now=clock(), secrets=secrets)
    # Whatever came beside it: the next token is asked for with the key again.
    return replace(tokens, refresh_token=None, refresh_token_expires_in=None, asked_at=asked_at)


def build_assertion(fields: Mapping[str, str], token_endpoint: str, scopes: Sequence[str], *, now: int) -> str:
    """The assertion (RFC 7523 §3).

    :param now: milliseconds since the epoch.
    :raises NotSent: the key can't be used.
    """
    issued = now // 1000 - BACKDATED
    claims: dict[str, object] = {"iss": fields["client_email"], "aud": token_endpoint, "iat": issued}
    claims["exp"] = issued + BACKDATED + _LIVES
    if scopes:
        # By the service's own rule a claim; RFC 7521 §4.1 has it as a parameter.
        claims["scope"] = " ".join(scopes)
    if fields.get("subject"):
        claims["sub"] = fields["subject"]
    return sign_assertion(claims, fields["private_key"], key_id=fields.get("private_key_id"))


def build_request(provider: Provider, endpoints: Endpoints, assertion: str) -> OutboundRequest:
    """The POST of the assertion, with what the entry adds; no client authenticates (RFC 7521 §4.1)."""
    body = {**provider.token_params, "grant_type": JWT_BEARER, "assertion": assertion}
    headers = {
        "accept": "application/json",
        "content-type": "application/x-www-form-urlencoded",
        **{name.lower(): value for name, value in provider.token_headers.items()},
    }
    return OutboundRequest("POST", endpoints.issuing.url, headers, urlencode(body).encode())

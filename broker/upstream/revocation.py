"""Giving a token back (RFC 7009), or the provider's own way of it."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, assert_never
from urllib.parse import urlencode

from broker.clock import Clock
from broker.errors import BrokerError, ProviderUnavailable
from broker.providers.schema import Provider
from broker.upstream.answers import raise_if_unavailable, read_object, refusal_in
from broker.upstream.client_auth import authenticate, basic, credentials
from broker.upstream.egress import Egress, InboundResponse, OutboundRequest
from broker.upstream.endpoints import Endpoints, RevocationEndpoint


@dataclass(frozen=True, slots=True)
class RevocationOutcome:
    """What became of a revocation. ``pending``: it may work later and is safe to repeat; ``failed``: it
    won't; ``unsupported``: the provider has no way to do it, or there is no token."""

    outcome: Literal["revoked", "pending", "failed", "unsupported"]
    status: int | None
    """The provider's HTTP status, where it answered."""
    detail: str


async def revoke(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    access_token: str | None,
    refresh_token: str | None,
) -> RevocationOutcome:
    """Revoke the token that the entry names, or the one there is. Raises no ``BrokerError``."""
    rule = endpoints.revocation
    token, hint = _chosen(rule, access_token, refresh_token)
    if rule is None or token is None:
        return RevocationOutcome("unsupported", None, "the provider offers no revocation for this credential")
    try:
        request = build_request(provider, endpoints, rule, token, hint)
        answer = await egress.send(request, deadline=provider.timeout, trusted=rule.trusted)
    except BrokerError as error:
        return unsent(error)
    client_secret = provider.client_secret.get_secret_value() if provider.client_secret else ""
    # Both tokens, for the provider knows the one that wasn't sent, too.
    secrets = (access_token or "", refresh_token or "", client_secret, request.headers.get("authorization", ""))
    return parse_outcome(answer, now=clock(), secrets=secrets)


def unsent(error: BrokerError) -> RevocationOutcome:
    """The outcome when the endpoint was not found, or gave no answer: whatever was in the way may be mended."""
    return RevocationOutcome("pending", None, error.detail)


def _chosen(
    rule: RevocationEndpoint | None, access_token: str | None, refresh_token: str | None
) -> tuple[str | None, str]:
    if rule is not None and rule.token == "refresh_token" and refresh_token:  # noqa: S105 - the name of a token
        return refresh_token, "refresh_token"
    return access_token or refresh_token, "access_token" if access_token else "refresh_token"


def build_request(
    provider: Provider, endpoints: Endpoints, rule: RevocationEndpoint, token: str, hint: str
) -> OutboundRequest:
    """The request that the entry's style asks for.

    :param hint: the token's kind (RFC 7009 §2.1).
    :raises NotSent: the entry lacks the client id or secret.
    """
    headers = {"accept": "application/json"}
    match rule.style:
        case "rfc7009" | "rfc7009_json":
            fields = {"token": token, "token_type_hint": hint}
            auth, fields = authenticate(provider, endpoints.token_auth_method, fields)
            headers |= {name.lower(): value for name, value in provider.token_headers.items()} | auth
            if rule.style == "rfc7009_json":
                return _with_json("POST", rule.url, headers, fields)
            headers["content-type"] = "application/x-www-form-urlencoded"
            return OutboundRequest("POST", rule.url, headers, urlencode(fields).encode())
        case "bearer_post":
            return OutboundRequest("POST", rule.url, {**headers, "authorization": f"Bearer {token}"})
        case "basic_delete_json":
            headers["authorization"] = basic(*credentials(provider))
            return _with_json("DELETE", rule.url, headers, {"access_token": token})
        case _:
            assert_never(rule.style)


def _with_json(method: str, url: str, headers: dict[str, str], fields: dict[str, str]) -> OutboundRequest:
    return OutboundRequest(method, url, {**headers, "content-type": "application/json"}, json.dumps(fields).encode())


def parse_outcome(answer: InboundResponse, *, now: int, secrets: Collection[str] = ()) -> RevocationOutcome:
    """Read the answer (RFC 7009 §2.2): success is any 2xx that states no error.

    :param now: milliseconds since the epoch.
    :param secrets: what the outcome must not repeat.
    """
    try:
        raise_if_unavailable(answer, now=now)
    except BrokerError as error:
        outcome: Literal["pending", "failed"] = "pending" if isinstance(error, ProviderUnavailable) else "failed"
        return RevocationOutcome(outcome, answer.status, error.detail)
    refusal = refusal_in(read_object(answer) or {}, secrets=secrets)
    if refusal is not None:
        return RevocationOutcome("failed", answer.status, f"the provider refused: {refusal}")
    if answer.status >= 300:
        return RevocationOutcome("failed", answer.status, f"the provider refused (HTTP {answer.status})")
    return RevocationOutcome("revoked", answer.status, "")

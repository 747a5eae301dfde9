"""What all grants share: one POST to the token endpoint (RFC 6749 §3.2), built, sent and read."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from broker.clock import Clock
from broker.providers.schema import Provider
from broker.upstream.client_auth import authenticate
from broker.upstream.egress import Egress, OutboundRequest
from broker.upstream.endpoints import Endpoints
from broker.upstream.token_response import TokenSet, parse_token_response

_SECRET_FIELDS = ("code", "code_verifier", "device_code", "refresh_token")


def build_request(
    provider: Provider, endpoints: Endpoints, fields: Mapping[str, str], *, url: str | None = None
) -> OutboundRequest:
    """An authenticated POST of ``fields``, as a form or as JSON, with what the entry adds; ``fields`` win.

    :param url: where to, if not to the token endpoint.
    :raises NotSent: the entry lacks the client id or secret.
    """
    auth_headers, body = authenticate(provider, endpoints.token_auth_method, {**provider.token_params, **fields})
    as_json = provider.token_body == "json"  # noqa: S105 - the name of an encoding
    return OutboundRequest(
        "POST",
        url or endpoints.issuing.url,
        {
            "accept": "application/json",
            "content-type": "application/json" if as_json else "application/x-www-form-urlencoded",
            **{name.lower(): value for name, value in provider.token_headers.items()},
            **auth_headers,
        },
        (json.dumps(body) if as_json else urlencode(body)).encode(),
    )


async def request_token(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    fields: Mapping[str, str],
    *,
    requested_scopes: Sequence[str],
    secrets: Collection[str] = (),
    permit: Callable[[], bool] = lambda: True,
) -> TokenSet:
    """Send one token request and read the answer.

    :param secrets: what else no error may repeat, for a provider knows more of a connection than what this request
        holds.
    :param permit: see :meth:`Egress.send`.
    :raises NotSent, AddressRefused, InvalidRequest: the request never left.
    :raises OutcomeUnknown, ProviderBusy, ProviderRefused, ProviderError: see :func:`parse_token_response`.
    """
    request, asked_at = build_request(provider, endpoints, fields), clock()
    answer = await egress.send(request, deadline=provider.timeout, trusted=endpoints.issuing.trusted, permit=permit)
    unspeakable = [*secrets, *(fields[name] for name in _SECRET_FIELDS if name in fields)]
    unspeakable += client_secrets(provider, request)
    tokens = parse_token_response(
        provider,
        answer,
        requested_scopes=requested_scopes,
        now=clock(),
        secrets=unspeakable,
        refreshed=fields.get("grant_type") == "refresh_token",
    )
    return replace(tokens, asked_at=asked_at)


def client_secrets(provider: Provider, request: OutboundRequest) -> list[str]:
    """What ``request`` holds of the client's own credentials, that no error may repeat."""
    secret = provider.client_secret.get_secret_value() if provider.client_secret is not None else ""
    return [request.headers.get("authorization", ""), secret]

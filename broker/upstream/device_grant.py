"""The provider's own device grant (RFC 8628): beginning a login there, and asking whether the person has agreed.

What a provider answers here is shown on terminals and opened in browsers, so nothing of it is taken as it comes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from broker.clock import Clock
from broker.errors import AddressRefused, OutcomeUnknown, ProviderError, ProviderRefused
from broker.providers.schema import Provider
from broker.upstream.address_guard import parse_address
from broker.upstream.answers import raise_if_unavailable, read_object, refusal_in
from broker.upstream.client_auth import credentials
from broker.upstream.egress import Egress
from broker.upstream.endpoints import Endpoints
from broker.upstream.token_endpoint import build_request, request_token
from broker.upstream.token_response import TokenSet

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"

_INTERVAL, _LONGEST_INTERVAL = 5, 120
_LIFETIME, _LONGEST_LIFETIME = 900, 3600
_USER_CODE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,62}[\x21-\x7e])?")
_DEVICE_CODE: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_LONGEST_ADDRESS: Final = 2048


@dataclass(frozen=True, slots=True)
class DeviceCodes:
    """What a provider's device authorization endpoint answers (RFC 8628 §3.2)."""

    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    """Printable ASCII, 64 characters at most."""
    verification_uri: str
    """An https address, or one of this machine."""
    verification_uri_complete: str | None = field(repr=False)
    expires_in: int
    """Seconds."""
    interval: int
    """Seconds to leave between two questions."""


class Waiting(StrEnum):
    """An answer to a question that is no token yet, or none any more (RFC 8628 §3.5)."""

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    DENIED = "access_denied"
    EXPIRED = "expired_token"


async def start(
    egress: Egress, clock: Clock, provider: Provider, endpoints: Endpoints, *, scopes: Sequence[str]
) -> DeviceCodes:
    """Begin a login at the provider (RFC 8628 §3.1), with the client authentication of its token endpoint.

    Raises:
        ProviderRefused: it refused, with its error code: the app has no device grant, or not for these scopes.
        ProviderError: there is no such endpoint, or its answer can't be used.
        NotSent, AddressRefused, OutcomeUnknown, ProviderBusy: as every request to a provider.
    """
    endpoint = endpoints.device_authorization
    if endpoint is None:
        raise ProviderError(f"provider {provider.name} has no device authorization endpoint")
    client_id, _ = credentials(provider)
    fields = {"client_id": client_id}
    if scopes:
        fields[provider.scope_param] = provider.scope_separator.join(scopes)
    request = build_request(provider, endpoints, fields, url=endpoint.url)
    answer = await egress.send(request, deadline=provider.timeout, trusted=endpoint.trusted)
    raise_if_unavailable(answer, now=clock())
    document = read_object(answer)
    secret = provider.client_secret.get_secret_value() if provider.client_secret else ""
    if document is not None and (
        refusal := refusal_in(
            document,
            error=provider.token_response.error,
            description=provider.token_response.error_description,
            secrets=[secret, request.headers.get("authorization", "")],
        )
    ):
        raise ProviderRefused(
            refusal.code, f"the provider refused a device login: {refusal}", http_status=answer.status
        )
    if answer.status >= 300:
        raise ProviderError(f"the provider refused a device login (HTTP {answer.status}) without a readable error")
    codes = _codes(document or {})
    if codes is None:
        raise OutcomeUnknown(f"the provider answered HTTP {answer.status} without usable device codes")
    return codes


async def poll(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    device_code: str,
    scopes: Sequence[str],
) -> TokenSet | Waiting:
    """Ask whether the person has agreed (RFC 8628 §3.4): one POST, for a yes comes once.

    ``scopes``: what was asked for in :func:`start`. A provider's own words for the states of RFC 8628 §3.5 stand in
    ``token_response.device_errors``.

    Raises: what :func:`request_token` raises, but for those states.
    """
    fields = {"grant_type": GRANT_TYPE, "device_code": device_code}
    try:
        return await request_token(egress, clock, provider, endpoints, fields, requested_scopes=scopes)
    except ProviderRefused as refused:
        word = provider.token_response.device_errors.get(refused.error, refused.error)
        if word not in list(Waiting):
            raise
        return Waiting(word)


def _codes(document: dict[str, object]) -> DeviceCodes | None:
    device_code, user_code = document.get("device_code"), document.get("user_code")
    # The name before the RFC's last draft, which a large provider still uses.
    page = _address(document.get("verification_uri") or document.get("verification_url"))
    complete = document.get("verification_uri_complete") or document.get("verification_url_complete")
    if not (isinstance(device_code, str) and _DEVICE_CODE.fullmatch(device_code)):
        return None
    if not (isinstance(user_code, str) and _USER_CODE.fullmatch(user_code)) or page is None:
        return None
    return DeviceCodes(
        device_code=device_code,
        user_code=user_code,
        verification_uri=page,
        verification_uri_complete=_address(complete),
        expires_in=_seconds(document.get("expires_in"), _LIFETIME, _LONGEST_LIFETIME),
        interval=_seconds(document.get("interval"), _INTERVAL, _LONGEST_INTERVAL),
    )


def _address(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST_ADDRESS or not value.isascii():
        return None
    try:
        parse_address(value)
    except AddressRefused:
        return None
    return value


def _seconds(value: object, otherwise: int, longest: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value <= 10**9:
        return otherwise
    return min(int(value), longest)

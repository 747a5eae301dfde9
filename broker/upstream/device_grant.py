"""The device authorization grant (RFC 8628): codes for a person to approve elsewhere, and asking whether they have.

A machine without a browser shows the code and the address; what comes from the provider here ends on somebody's
terminal, so it is judged before it goes on.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from broker.clock import Clock
from broker.errors import AddressRefused, ProviderError, ProviderRefused
from broker.providers.schema import Provider
from broker.upstream.address_guard import parse_address
from broker.upstream.answers import raise_if_unavailable, read_object, refusal_in
from broker.upstream.client_auth import credentials
from broker.upstream.egress import Egress, InboundResponse
from broker.upstream.endpoints import Endpoints
from broker.upstream.token_endpoint import build_request, client_secrets, request_token
from broker.upstream.token_response import TokenSet, whole_seconds

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"

LIFETIME = 900
"""Seconds that codes live at most, and where the provider names no sensible end."""

INTERVAL = 5
"""Seconds between two polls where the provider names none (RFC 8628 §3.2)."""

LONGEST_INTERVAL = 120
"""Seconds; a provider that wants more says ``slow_down``."""

_LONGEST_ADDRESS = 2048
_DEVICE_CODE = re.compile(r"[\x21-\x7e]{1,4096}")
_USER_CODE = re.compile(r"(?=.{1,64}\Z)[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class DeviceCodes:
    """What a provider answers who begins (RFC 8628 §3.2): the one secret, and what a person is shown."""

    device_code: str = field(repr=False)
    """What polls are made with. Whoever has it gets the tokens."""
    user_code: str = field(repr=False)
    """What the person types: 1 to 64 printable ASCII characters."""
    verification_uri: str
    """Where: https, or http on this machine; printable ASCII, at most 2048 characters."""
    verification_uri_complete: str | None = field(repr=False)
    """The same with the code in it, of the same kind; ``None``: the provider has no such address."""
    expires_in: int = LIFETIME
    """Seconds from the answer on, 1 to 900."""
    interval: int = INTERVAL
    """Least seconds from one poll to the next, 1 to 120."""


class Waiting(StrEnum):
    """What a poll answers instead of tokens (RFC 8628 §3.5); the first two don't end the attempt."""

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    """As ``PENDING``, and from now on the interval is 5 seconds longer."""
    DENIED = "access_denied"
    EXPIRED = "expired_token"


async def start(
    egress: Egress, clock: Clock, provider: Provider, endpoints: Endpoints, *, scopes: Sequence[str]
) -> DeviceCodes:
    """Ask for codes (RFC 8628 §3.1): ``client_id`` always in the body, the client authenticated as at the token
    endpoint. Nothing is granted by it, so it may be repeated.

    :raises NotSent, AddressRefused, InvalidRequest: the request never left.
    :raises OutcomeUnknown, ProviderBusy: no verdict.
    :raises ProviderRefused: the provider said no, with its code: ``invalid_scope``, ``unauthorized_client`` …
    :raises ProviderError: there is no such endpoint, or its answer can't be used.
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
    return parse_device_codes(provider, answer, now=clock(), secrets=client_secrets(provider, request))


async def poll(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    device_code: str,
    scopes: Sequence[str],
) -> TokenSet | Waiting:
    """One poll (RFC 8628 §3.4). After tokens, ``DENIED`` or ``EXPIRED`` the code is spent; after ``OutcomeUnknown`` it
    may be.

    :param scopes: what :func:`start` asked for.
    :raises BrokerError: what :func:`request_token` raises; ``ProviderRefused`` for every code that isn't one of
        :class:`Waiting`.
    """
    fields = {"grant_type": GRANT_TYPE, "device_code": device_code}
    try:
        return await request_token(egress, clock, provider, endpoints, fields, requested_scopes=scopes)
    except ProviderRefused as refused:
        code = provider.token_response.device_errors.get(refused.error, refused.error)
        if code not in set(Waiting):
            raise
        return Waiting(code)


def parse_device_codes(
    provider: Provider, answer: InboundResponse, *, now: int, secrets: Collection[str] = ()
) -> DeviceCodes:
    """Read the answer of a device authorization endpoint.

    :param now: milliseconds since the epoch.
    :param secrets: what no error may repeat, beside the device code of this answer.
    :raises BrokerError: as :func:`start` does for what came back.
    """
    raise_if_unavailable(answer, now=now)
    document = read_object(answer)
    if document is not None:
        device_code = document.get("device_code")
        unspeakable = [*secrets, device_code] if isinstance(device_code, str) else secrets
        where = provider.token_response
        refusal = refusal_in(document, error=where.error, description=where.error_description, secrets=unspeakable)
        if refusal is not None:
            raise ProviderRefused(refusal.code, f"the provider refused: {refusal}", http_status=answer.status)
    if document is None or answer.status >= 300:
        raise ProviderError(f"the provider answered HTTP {answer.status} without readable device codes")
    # The names of the draft live on (RFC 8628 §3.2 says verification_uri).
    uri = _address(document.get("verification_uri", document.get("verification_url")))
    if uri is None:
        raise ProviderError("the provider's device authorization has no usable verification_uri")
    return DeviceCodes(
        device_code=_text(document, "device_code", _DEVICE_CODE),
        user_code=_text(document, "user_code", _USER_CODE),
        verification_uri=uri,
        # Merely a convenience: one that can't be used takes nothing away from the code and its address.
        verification_uri_complete=_address(
            document.get("verification_uri_complete", document.get("verification_url_complete"))
        ),
        expires_in=min(whole_seconds(document.get("expires_in")) or LIFETIME, LIFETIME),
        interval=min(whole_seconds(document.get("interval")) or INTERVAL, LONGEST_INTERVAL),
    )


def _text(document: Mapping[str, object], name: str, shape: re.Pattern[str]) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise ProviderError(f"the provider's device authorization has no usable {name}")
    return value


def _address(value: object) -> str | None:
    """``value`` if it is an address that a person may be sent to."""
    if not isinstance(value, str) or len(value) > _LONGEST_ADDRESS:
        return None
    try:
        parse_address(value)
    except AddressRefused:
        return None
    return value

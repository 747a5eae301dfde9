"""A machine asks to log in (RFC 8628 §3.1): whose page takes the user code, and what the machine shows.

Two ways, chosen by what the provider can do. *Native*: it has a device grant and takes these scopes; its own user code
and address are handed on, and we ask it whether the person has agreed. *Bridge*: it has none; our own page takes the
code, and sends the person through the browser flow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.opening import check_connects
from broker.connections.short_code import new_short_code, spelled
from broker.errors import Conflict, InvalidRequest, OAuthError, ProviderRefused
from broker.models.device import DeviceAuthorization, DeviceMode
from broker.models.ids import bearing_secret, digest, new_id
from broker.observe import metrics
from broker.providers import Provider
from broker.upstream.device_grant import DeviceCodes
from broker.upstream.facade import Upstream
from broker.upstream.parameters import check_parameters, check_scopes
from broker.vault.device_authorizations import StoredDeviceAuthorizations

LIFETIME: Final = 900
"""Seconds that a machine may wait for its person, and no provider's code longer."""

INTERVAL: Final = 5
"""Seconds between two polls with our own page (RFC 8628 §3.2)."""

PAGE: Final = "/device"

_TRIES: Final = 5
_SCOPES_AT_MOST: Final = 50
_SCOPE_TEXT_AT_MOST: Final = 4_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceOrder:
    """What a machine asks for."""

    tenant: str
    client_id: str
    client_name: str
    tokens_from: int
    provider: Provider
    provider_scopes: Sequence[str]
    """Empty = the provider's default scopes."""
    broker_scopes: tuple[str, ...]
    subject: str
    """Whose the connection will be; empty: derived from the account at the provider."""
    parameters: Mapping[str, str]
    address: str
    device_name: str | None


@dataclass(frozen=True, slots=True)
class DeviceInvitation:
    """What the machine shows to its person, and the code that it asks with."""

    authorization: DeviceAuthorization
    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    verification_uri: str
    verification_uri_complete: str | None = field(repr=False)


class DeviceRequests:
    """Opens device authorizations."""

    def __init__(self, stored: StoredDeviceAuthorizations, upstream: Upstream, clock: Clock, public_url: str) -> None:
        self._stored = stored
        self._upstream = upstream
        self._clock = clock
        self._public_url = public_url

    async def open(self, order: DeviceOrder) -> DeviceInvitation:
        """A new device authorization, and what the machine shows.

        :raises Conflict: the provider lacks settings, or machines can't log in with it.
        :raises InvalidRequest: parameters or scopes that can't be.
        :raises OAuthError: ``invalid_scope``: the provider's device grant, the only way, doesn't take these scopes.
        :raises ProviderError, ProviderUnavailable: the provider's device grant, or its metadata, can't be used now.
        """
        provider = order.provider
        if not provider.ready:
            raise Conflict(f"the provider is not ready: {', '.join(provider.missing)} missing")
        if provider.device.mode == "off":
            raise Conflict("device login is switched off for this provider")
        # What a form leaves open, its person fills in.
        parameters = check_parameters(provider, order.parameters, all_of_them=provider.connects_by != "form")
        scopes = tuple(dict.fromkeys(order.provider_scopes or provider.default_scopes))
        check_scopes(provider, scopes)
        invitation = await self._native(order, scopes, parameters) or await self._bridge(order, scopes, parameters)
        metrics.device_logins.labels(provider.name, f"begun_{invitation.authorization.mode}").inc()
        return invitation

    async def _native(
        self, order: DeviceOrder, scopes: tuple[str, ...], parameters: Mapping[str, str]
    ) -> DeviceInvitation | None:
        """By the provider's own device grant; ``None``: the other way is to be taken."""
        provider = order.provider
        if not await self._is_native(provider, parameters, scopes):
            return None
        try:
            codes = await self._upstream.start_device(provider, parameters, scopes=scopes)
        except ProviderRefused as error:
            if provider.device.mode == "native" or "authorization_code" not in provider.grant_types:
                raise
            # The app has no device grant there, or not for these scopes; the other way is open.
            log.warning("device.not_native", provider=provider.name, reason=error.detail)
            return None
        return await self._hand_on(order, scopes, parameters, codes)

    async def _is_native(self, provider: Provider, parameters: Mapping[str, str], scopes: Sequence[str]) -> bool:
        mode, allowed = provider.device.mode, provider.device.scope_allowlist
        takes_scopes = allowed is None or set(scopes) <= set(allowed)
        if mode == "native" and not takes_scopes:
            raise OAuthError("invalid_scope", "the provider's device grant does not take all of these scopes")
        listed = provider.device_authorization_endpoint is not None or "device_code" in provider.grant_types
        if mode == "bridge" or not takes_scopes or (mode == "auto" and not listed):
            return False
        endpoints = await self._upstream.endpoints(provider, parameters)
        if endpoints.device_authorization is None and mode == "native":
            raise Conflict("the provider has no device authorization endpoint")
        return endpoints.device_authorization is not None

    async def _hand_on(
        self, order: DeviceOrder, scopes: tuple[str, ...], parameters: Mapping[str, str], codes: DeviceCodes
    ) -> DeviceInvitation:
        expires_in = min(codes.expires_in, LIFETIME)
        authorization, device_code = self._drawn(
            order, DeviceMode.NATIVE, scopes, parameters, expires_in=expires_in, interval=codes.interval
        )
        await self._stored.create(
            authorization,
            provider_code=codes.device_code,
            ask_every=codes.interval,
            # Metadata, the question, whose account it is; and what is stored in between.
            ask_takes=int(3 * order.provider.timeout) + 30,
        )
        return DeviceInvitation(
            authorization, device_code, codes.user_code, codes.verification_uri, codes.verification_uri_complete
        )

    async def _bridge(
        self, order: DeviceOrder, scopes: tuple[str, ...], parameters: Mapping[str, str]
    ) -> DeviceInvitation:
        check_connects(order.provider)
        for _ in range(_TRIES):
            authorization, device_code = self._drawn(
                order, DeviceMode.BRIDGE, scopes, parameters, expires_in=LIFETIME, interval=INTERVAL
            )
            if await self._stored.create(authorization):
                page, shown = f"{self._public_url}{PAGE}", spelled(authorization.user_code)
                return DeviceInvitation(authorization, device_code, shown, page, f"{page}?user_code={shown}")
        raise Conflict("no free user code was found; try again")

    def _drawn(
        self,
        order: DeviceOrder,
        mode: DeviceMode,
        scopes: tuple[str, ...],
        parameters: Mapping[str, str],
        *,
        expires_in: int,
        interval: int,
    ) -> tuple[DeviceAuthorization, str]:
        now, authorization_id = self._clock(), new_id("da")
        device_code = bearing_secret("dc", authorization_id)
        authorization = DeviceAuthorization(
            id=authorization_id,
            tenant=order.tenant,
            client_id=order.client_id,
            client_name=order.client_name,
            provider=order.provider.name,
            mode=mode,
            scopes=scopes,
            broker_scopes=order.broker_scopes,
            created_at=now,
            expires_at=now + expires_in * 1000,
            device_code_digest=digest(device_code),
            connection_id=new_id("con"),
            user_code=new_short_code() if mode is DeviceMode.BRIDGE else "",
            subject=order.subject,
            parameters=parameters,
            address=order.address,
            device_name=order.device_name,
            tokens_from=order.tokens_from,
            interval=interval,
        )
        return authorization, device_code


def scopes_of(provider: Provider, text: str) -> list[str]:
    """Provider scopes as a machine names them: separated by spaces, or as the provider separates them.

    :raises InvalidRequest: it names none, or more than anybody needs: they are kept, and shown to the person.
    """
    if len(text) > _SCOPE_TEXT_AT_MOST:
        raise InvalidRequest(f"provider_scope has at most {_SCOPE_TEXT_AT_MOST} characters")
    scopes = text.replace(provider.scope_separator, " ").split()
    if not 0 < len(scopes) <= _SCOPES_AT_MOST:
        raise InvalidRequest(f"provider_scope names one to {_SCOPES_AT_MOST} scopes")
    return scopes

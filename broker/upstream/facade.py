"""The calls that the heart makes to providers. Nothing but composition: each step is a room of its own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self

from broker.clock import Clock
from broker.errors import BrokerError
from broker.models.connection import Credential, Whoami
from broker.providers.schema import Provider
from broker.upstream import (
    authorization_code,
    client_credentials,
    device_grant,
    github_app,
    identity,
    revocation,
    service_account,
)
from broker.upstream.api_address import base_of
from broker.upstream.discovery import Discovery
from broker.upstream.egress import Egress
from broker.upstream.endpoints import Endpoint, Endpoints, needs_discovery, resolve
from broker.upstream.parameters import check_parameters, fill, host_is_fixed
from broker.upstream.refresh_token import refresh as refresh_token_grant
from broker.upstream.relay import Relay, StreamedAnswer, StreamedRequest
from broker.upstream.revocation import RevocationOutcome
from broker.upstream.schemes.request import Signature, Unsigned
from broker.upstream.schemes.signing import sign
from broker.upstream.token_response import TokenSet


class Upstream:
    """All providers. ``parameters`` are always those of the connection or session in question.

    Every call may raise ``InvalidRequest`` (parameters that don't fit the entry), ``AddressRefused`` (they
    lead where they may not) and, from discovery, ``NotSent`` and ``ProviderError``; the request itself hasn't
    left then.
    """

    def __init__(self, egress: Egress, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock
        self._discovery = Discovery(egress, clock)
        self._relay = Relay(egress)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop what is under way and close the way out."""
        await self._discovery.aclose()
        await self._relay.aclose()
        await self._egress.aclose()

    async def endpoints(self, provider: Provider, parameters: Mapping[str, str]) -> Endpoints:
        """Where ``provider`` is for a connection with ``parameters``; what the entry leaves out is discovered."""
        values = check_parameters(provider, parameters)
        metadata = None
        if provider.issuer is not None and needs_discovery(provider):
            metadata = await self._discovery.metadata(
                fill(provider.issuer, values),
                trusted=host_is_fixed(provider.issuer),
                deadline=provider.timeout,
            )
        return resolve(provider, values, metadata)

    async def authorization_url(
        self,
        provider: Provider,
        parameters: Mapping[str, str],
        *,
        redirect_uri: str,
        state: str,
        scopes: Sequence[str],
        verifier: str,
    ) -> str:
        """Where to send the browser; see :func:`authorization_code.authorization_url`."""
        endpoints = await self.endpoints(provider, parameters)
        return authorization_code.authorization_url(
            provider, endpoints, redirect_uri=redirect_uri, state=state, scopes=scopes, verifier=verifier
        )

    async def exchange_code(
        self,
        provider: Provider,
        parameters: Mapping[str, str],
        *,
        code: str,
        verifier: str,
        redirect_uri: str,
        scopes: Sequence[str],
    ) -> TokenSet:
        """Redeem an authorization code; see :func:`authorization_code.exchange_code`."""
        endpoints = await self.endpoints(provider, parameters)
        return await authorization_code.exchange_code(
            self._egress,
            self._clock,
            provider,
            endpoints,
            code=code,
            verifier=verifier,
            redirect_uri=redirect_uri,
            scopes=scopes,
        )

    async def start_device(
        self, provider: Provider, parameters: Mapping[str, str], *, scopes: Sequence[str]
    ) -> device_grant.DeviceCodes:
        """Begin a login by the provider's own device grant; see :func:`device_grant.start`."""
        endpoints = await self.endpoints(provider, parameters)
        return await device_grant.start(self._egress, self._clock, provider, endpoints, scopes=scopes)

    async def poll_device(
        self, provider: Provider, parameters: Mapping[str, str], *, device_code: str, scopes: Sequence[str]
    ) -> TokenSet | device_grant.Waiting:
        """Ask whether the person has agreed; see :func:`device_grant.poll`."""
        endpoints = await self.endpoints(provider, parameters)
        return await device_grant.poll(
            self._egress, self._clock, provider, endpoints, device_code=device_code, scopes=scopes
        )

    async def refresh(
        self,
        provider: Provider,
        parameters: Mapping[str, str],
        *,
        refresh_token: str,
        scopes: Sequence[str],
        secrets: Collection[str] = (),
        permit: Callable[[], bool] = lambda: True,
    ) -> TokenSet:
        """One refresh, one POST; see :func:`refresh_token.refresh`."""
        endpoints = await self.endpoints(provider, parameters)
        return await refresh_token_grant(
            self._egress,
            self._clock,
            provider,
            endpoints,
            refresh_token=refresh_token,
            scopes=scopes,
            secrets=secrets,
            permit=permit,
        )

    async def issue(
        self,
        provider: Provider,
        parameters: Mapping[str, str],
        *,
        credential: Credential,
        scopes: Sequence[str],
    ) -> TokenSet:
        """An access token for the app itself, or for what was handed in; repeating it harms nothing.

        See :func:`client_credentials.client_credentials`, :func:`github_app.issue`, :func:`service_account.issue`."""
        endpoints = await self.endpoints(provider, parameters)
        match provider.type:
            case "github_app":
                values = check_parameters(provider, parameters)
                return await github_app.issue(
                    self._egress, self._clock, provider, values=values, credential=credential, scopes=scopes
                )
            case "google_service_account":
                return await service_account.issue(
                    self._egress, self._clock, provider, endpoints, credential=credential, scopes=scopes
                )
            case _:
                return await client_credentials.client_credentials(
                    self._egress, self._clock, provider, endpoints, scopes=scopes, secrets=credential.secrets
                )

    async def revoke(
        self,
        provider: Provider,
        parameters: Mapping[str, str],
        *,
        access_token: str | None,
        refresh_token: str | None,
    ) -> RevocationOutcome:
        """Give a token back and say what became of it. Raises nothing; see :func:`revocation.revoke`."""
        try:
            endpoints = await self.endpoints(provider, parameters)
        except BrokerError as error:
            return revocation.unsent(error)
        return await revocation.revoke(
            self._egress,
            self._clock,
            provider,
            endpoints,
            access_token=access_token,
            refresh_token=refresh_token,
        )

    async def identify(
        self,
        provider: Provider,
        parameters: Mapping[str, str],
        *,
        credential: Credential,
        credential_type: str,
        scopes: Sequence[str],
    ) -> Whoami | None:
        """Whose account it is, and what it may do; ``None`` where the provider can't say.

        See :func:`identity.identify`.
        """
        endpoints = await self.endpoints(provider, parameters)
        return await identity.identify(
            self._egress,
            self._clock,
            provider,
            endpoints,
            values=check_parameters(provider, parameters),
            credential=credential,
            credential_type=credential_type,
            scopes=scopes,
        )

    def api(self, provider: Provider, parameters: Mapping[str, str]) -> Endpoint:
        """Where the provider's API is for a connection with ``parameters``; see :func:`api_address.base_of`."""
        return base_of(provider, check_parameters(provider, parameters))

    async def relay(self, provider: Provider, request: StreamedRequest, *, trusted: bool) -> StreamedAnswer:
        """Send a caller's request on to the provider's API; see :meth:`Relay.open`."""
        patience = provider.api.timeout if provider.api else provider.timeout
        return await self._relay.open(request, patience=patience, trusted=trusted)

    def sign(
        self, provider: Provider, parameters: Mapping[str, str], credential: Credential, request: Unsigned
    ) -> Signature:
        """What makes ``request`` the connection's; see :func:`signing.sign`."""
        return sign(provider, check_parameters(provider, parameters), credential, request, now=self._clock())

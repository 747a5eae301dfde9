"""The machine's side of its login: it asks, with its device code, whether its person has agreed (RFC 8628 §3.4, §3.5).

With a provider's own device grant (native) the machine's question makes us ask the provider: not more often than that
wants, one of us at a time, and carried through although the machine may have hung up: the provider's yes comes once.
"""

from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.announcing import Announcements
from broker.connections.authorization import Authorizations, Wanted
from broker.connections.detached import Detached
from broker.connections.device_approval import UNCOLLECTED_FOR
from broker.connections.device_life import DeviceLife
from broker.connections.persistence import until_stored
from broker.errors import BrokerError, OAuthError, ProviderUnavailable
from broker.models.connection import Connection
from broker.models.device import DeviceAuthorization, DeviceStatus
from broker.models.ids import digest, new_id, owner_of
from broker.observe import metrics
from broker.providers import Registry
from broker.upstream.device_grant import Waiting
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.device_authorizations import Poll, StoredDeviceAuthorizations
from broker.vault.records import Records

_SLOWER: Final = 5
"""Seconds that a provider's slow_down adds to its interval, for good (RFC 8628 §3.5)."""
_SLOWEST: Final = 60
_ATTEMPTS: Final = 8

log = structlog.get_logger(__name__)


class DevicePolls:
    """Answers machines that wait."""

    def __init__(
        self,
        stored: StoredDeviceAuthorizations,
        life: DeviceLife,
        records: Records,
        authorizations: Authorizations,
        announcements: Announcements,
        upstream: Upstream,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._stored = stored
        self._life = life
        self._records = records
        self._authorizations = authorizations
        self._announcements = announcements
        self._upstream = upstream
        self._providers = providers
        self._clock = clock
        self._running: Detached[None] = Detached()

    async def collect(self, client_id: str, device_code: str, *, request_id: str | None) -> DeviceAuthorization:
        """The approved attempt that this device code stands for. It is spent by that: answered once, ever.

        :raises OAuthError: ``authorization_pending``, ``slow_down``, ``expired_token``, ``access_denied``; or
            ``invalid_grant``: unknown, spent, or another client's.
        """
        authorization_id = owner_of("dc", "da", device_code)
        if authorization_id is None:
            raise _invalid("no device code by its shape")
        found = await self._poll(authorization_id, client_id, device_code)
        authorization = await self._stored.read(authorization_id)
        if found.verdict == "ask" and authorization is not None:
            waiting = authorization
            await self._running.join(waiting.id, lambda: self._ask(waiting, request_id))
            authorization = await self._stored.read(authorization_id)
            if authorization is not None and authorization.settled(self._clock()):
                found = await self._poll(authorization_id, client_id, device_code)
        if found.verdict != "approved" or authorization is None:
            raise _not_yet(found, authorization)
        return authorization

    async def drain(self, seconds: float) -> int:
        """Let running questions to providers finish; answers how many did not within ``seconds``."""
        return await self._running.drain(seconds)

    async def _poll(self, authorization_id: str, client_id: str, device_code: str) -> Poll:
        return await self._stored.poll(
            authorization_id, now=self._clock(), client_id=client_id, device_code_digest=digest(device_code)
        )

    async def _ask(self, authorization: DeviceAuthorization, request_id: str | None) -> None:
        """Ask the provider once, and note what it says."""
        if authorization.provider not in self._providers:
            await self._deny(authorization, "the provider is no longer in the providers file")
            return
        if made := await self._records.read(authorization.connection_id):
            # Who asked before us got a yes, and could not say so.
            await self._approve(authorization, made)
            return
        provider = self._providers.get(authorization.provider)
        code, ask_every = await self._stored.provider_code(authorization)
        try:
            answer = await self._upstream.poll_device(
                provider, authorization.parameters, device_code=code, scopes=authorization.scopes
            )
        except ProviderUnavailable as error:
            # Whether the provider has seen the question or not: it is asked again, less often (RFC 8628 §3.5).
            log.info("device.provider_silent", provider=provider.name, reason=error.detail)
            await self._ask_later(authorization, max(error.retry_after or 0, min(_SLOWEST, ask_every * 2)))
            return
        except BrokerError as error:
            log.warning("device.provider_refused", provider=provider.name, reason=error.detail)
            await self._deny(authorization, error.detail)
            return
        match answer:
            case TokenSet():
                await self._connect(authorization, answer, request_id)
            case Waiting.PENDING:
                await self._ask_later(authorization, ask_every)
            case Waiting.SLOW_DOWN:
                await self._ask_later(authorization, ask_every + _SLOWER)
            case Waiting.DENIED:
                await self._deny(authorization)
            case Waiting.EXPIRED:
                await self._settle(authorization, DeviceStatus.PENDING, expires_at=self._clock())

    async def _connect(self, authorization: DeviceAuthorization, tokens: TokenSet, request_id: str | None) -> None:
        """Keep what the provider granted: its code has served, and nobody else has the tokens. What can't be kept is
        given back."""
        provider = self._providers.get(authorization.provider)
        wanted = Wanted(
            tenant=authorization.tenant,
            client_id=authorization.client_id,
            subject=authorization.subject,
            provider=provider,
            credential_type="oauth2",
            requested_scopes=authorization.scopes,
            parameters=authorization.parameters,
            label=authorization.device_name,
            metadata={},
            means="device",
            session=authorization.id,
            request_id=request_id,
            connection_id=authorization.connection_id,
        )
        try:
            # Not before: a machine that asks and asks must keep nobody from giving another grant back.
            async with self._announcements.announced(authorization.id, provider, authorization.parameters):
                if authorization.owns_connection:
                    await self._expect(authorization)
                made = await self._authorizations.store(wanted, tokens)
        except BrokerError as error:
            await self._authorizations.give_back(wanted, tokens)
            log.warning("device.not_connected", provider=authorization.provider, reason=error.detail)
            await self._deny(authorization, error.detail)
            return
        await self._approve(authorization, made)

    async def _approve(self, authorization: DeviceAuthorization, made: Connection) -> None:
        if not await self._settle(authorization, DeviceStatus.APPROVED):
            stands = await self._stored.read(authorization.id)
            if stands is None or stands.status not in {DeviceStatus.APPROVED, DeviceStatus.SPENT}:
                # The machine's time is over: nobody will ever use what was connected for it.
                await self._life.discard(made)
            # Else we were held up, and who asked after us has found it: the machine may be using it already.
            return
        metrics.device_logins.labels(authorization.provider, "approved").inc()
        log.info("device.approved", provider=authorization.provider, connection_id=authorization.connection_id)

    async def _deny(self, authorization: DeviceAuthorization, reason: str = "") -> None:
        if await self._settle(authorization, DeviceStatus.DENIED, reason=reason):
            metrics.device_logins.labels(authorization.provider, "denied").inc()

    async def _expect(self, authorization: DeviceAuthorization) -> None:
        until = authorization.expires_at + UNCOLLECTED_FOR
        await until_stored(
            lambda: self._life.expect(authorization.connection_id, until=until),
            what=f"login of {authorization.id}",
            attempts=_ATTEMPTS,
        )

    async def _settle(self, authorization: DeviceAuthorization, status: DeviceStatus, **change: str | int) -> bool:
        now, attempt = self._clock(), new_id("attempt")
        return await until_stored(
            lambda: self._stored.step(
                authorization,
                now=now,
                among=[DeviceStatus.PENDING],
                change={"status": status, **change},
                attempt=attempt,
            ),
            what=f"step of {authorization.id}",
            attempts=_ATTEMPTS,
        )

    async def _ask_later(self, authorization: DeviceAuthorization, seconds: int) -> None:
        # From now on, not from when we asked: the provider may have seen the question only now.
        ask_at = self._clock() + seconds * 1000
        await self._settle(authorization, DeviceStatus.PENDING, ask_every=seconds, ask_at=ask_at)


def _invalid(because: str) -> OAuthError:
    return OAuthError("invalid_grant", "the device code is unknown, used up or another client's", because=because)


def _not_yet(found: Poll, authorization: DeviceAuthorization | None) -> OAuthError:
    match found.verdict:
        case "pending" | "ask":
            return OAuthError("authorization_pending", "the person has not finished yet")
        case "slow_down":
            return OAuthError("slow_down", f"asked too soon; leave {found.interval} seconds from now on")
        case "expired":
            return OAuthError("expired_token", "the person did not finish in time; log in again")
        case "denied":
            reason = authorization.reason if authorization else ""
            return OAuthError("access_denied", reason or "the person said no")
        case _:
            return _invalid(found.verdict)

"""The person's side of a machine's login, on our own page: find it by its code, approve or decline, come back.

==================  ============================  ==============================================================
step                from → to                     proof
==================  ============================  ==============================================================
``approve``         pending → authorizing         the user code; the browser that pressed the button is bound
``arrived``         authorizing → redeeming → ok  that browser, ``state``, the path and ``iss`` (``Arrivals``)
``decline``         pending → denied              the user code, or a no at the provider
==================  ============================  ==============================================================

Nothing is final before the provider's yes is redeemed: who gave up at the provider, or lost the window, enters the code
again, and the latest browser counts.
"""

from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from broker.clock import Clock
from broker.connections.announcing import EXCHANGE_AT_MOST
from broker.connections.arrival import AnswerSpent
from broker.connections.completion import Completions
from broker.connections.detached import Detached
from broker.connections.device_life import DeviceLife
from broker.connections.intake import Taken
from broker.connections.journey import Departure, Journey
from broker.connections.managed_devices import new_handle
from broker.connections.opening import Opening, Order
from broker.connections.persistence import until_stored
from broker.connections.short_code import normalized_code
from broker.errors import BrokerError, NotFound
from broker.models.connection import Connection
from broker.models.device import DeviceAuthorization, DeviceMode, DeviceStatus
from broker.models.ids import digest, new_id
from broker.models.session import Completion, ConnectSession
from broker.observe import metrics
from broker.providers import Provider, Registry
from broker.vault.device_authorizations import StoredDeviceAuthorizations

UNCOLLECTED_FOR: Final = 300_000
"""How long after its device code a connection that no machine collected is kept, in milliseconds. Longer than making it
may take that was begun in time."""

_REDEEMS_WITHIN: Final = EXCHANGE_AT_MOST + 30_000
"""Milliseconds after which whoever redeems a provider's yes counts as dead."""

FORM_PAGE: Final = "/connect"
"""Below it a connect link leads to the form, where the person hands in a credential."""

_OPEN: Final = (DeviceStatus.PENDING, DeviceStatus.AUTHORIZING)
_CODE_LENGTH: Final = 64
_ATTEMPTS: Final = 8
_UNKNOWN: Final = "this code is not valid, or not any longer"

log = structlog.get_logger(__name__)


class UserCodeUnknown(NotFound):
    """No machine waits for this code: it never was one, its time is over, or it has served. Not told apart."""


@dataclass(frozen=True, slots=True)
class Approved:
    """A machine can collect its login."""

    authorization: DeviceAuthorization
    connection: Connection
    manage_handle: str = field(repr=False)
    """The secret in the address of the person's page about the machine."""


class DeviceApprovals:
    """What people do about machines that wait."""

    def __init__(
        self,
        stored: StoredDeviceAuthorizations,
        life: DeviceLife,
        opening: Opening,
        journey: Journey,
        completions: Completions,
        providers: Registry,
        clock: Clock,
    ) -> None:
        self._stored = stored
        self._life = life
        self._opening = opening
        self._journey = journey
        self._completions = completions
        self._providers = providers
        self._clock = clock
        self._running: Detached[Approved] = Detached()

    async def find(self, user_code: str) -> tuple[DeviceAuthorization, Provider]:
        """The attempt that a code leads to, in any case, with or without its hyphen (RFC 8628 §6.1).

        :raises UserCodeUnknown: there is none that waits.
        """
        code = normalized_code(user_code.strip()[:_CODE_LENGTH])
        authorization = await self._stored.by_user_code(code)
        if authorization is None or not self._waits(authorization) or authorization.provider not in self._providers:
            raise UserCodeUnknown(_UNKNOWN)
        return authorization, self._providers.get(authorization.provider)

    async def approve(self, authorization: DeviceAuthorization, provider: Provider) -> Departure:
        """The person agrees on our page: where their browser goes, bound to this attempt from now on.

        :raises UserCodeUnknown: somebody else was faster.
        :raises Conflict: the provider lacks settings by now.
        :raises ProviderError, ProviderUnavailable: its endpoints can't be discovered.
        """
        authorization = replace(authorization, connection_id=new_id("con"))
        session, handle = await self._opening.open(_order(authorization, provider))
        if provider.connects_by == "form":
            departure = Departure(f"{FORM_PAGE}/{handle}", session.id, await self._journey.bind(session, None))
        else:
            departure = await self._journey.depart(session, provider, None)
        change = {
            "status": DeviceStatus.AUTHORIZING,
            "session_id": session.id,
            "connection_id": authorization.connection_id,
        }
        if not await self._stored.step(
            authorization,
            now=self._clock(),
            among=(*_OPEN, authorization.status),
            where={"session_id": authorization.session_id},
            change=change,
        ):
            raise UserCodeUnknown(_UNKNOWN)
        return departure

    async def decline(self, authorization: DeviceAuthorization) -> None:
        """The person says no on our page.

        :raises UserCodeUnknown: it was approved and redeemed meanwhile, or its time is over.
        """
        if not await self._deny(authorization):
            raise UserCodeUnknown(_UNKNOWN)

    async def turned_back(self, session: ConnectSession, error: str) -> None:
        """The provider sent the person back without a yes. With their no the attempt is over; with any other error the
        same code can be entered again."""
        authorization = await self._of(session)
        if authorization is None:
            return
        if error == "access_denied":
            await self._deny(authorization, session)
        else:
            await self._reopen(authorization, session)

    async def arrived(
        self, session: ConnectSession, *, request_id: str, taken: Taken | None = None, again: bool = False
    ) -> Approved:
        """The person came back with the provider's yes: make the connection that the machine will collect.

        :param taken: instead of that, what they have handed in on our own page.
        :param again: the browser has sent that twice, and another request is at it.
        :raises AnswerSpent: that one is done, or runs in another process; this one has nothing to do.
        :raises UserCodeUnknown: another browser was faster, or the machine's time is over; nothing was redeemed.
        :raises ProviderError, ProviderUnavailable: the provider did not redeem it; the code can be entered again.
        """
        if again and not self._running.runs(session.id):
            raise AnswerSpent("the form was sent before")
        # Carried through although the browser may hang up: the provider's yes comes once.
        return await self._running.join(session.id, lambda: self._arrived(session, request_id, taken))

    async def drain(self, seconds: float) -> int:
        """Let running redemptions finish; answers how many did not within ``seconds``."""
        return await self._running.drain(seconds)

    async def _arrived(self, session: ConnectSession, request_id: str, taken: Taken | None) -> Approved:
        authorization = await self._of(session)
        until = self._clock() + _REDEEMS_WITHIN
        if authorization is None or not await self._step(
            authorization, session, [DeviceStatus.AUTHORIZING], DeviceStatus.REDEEMING, redeeming_until=until
        ):
            await self._journey.fail(session, [session.status], "too_late")
            raise UserCodeUnknown(_UNKNOWN)
        try:
            if authorization.owns_connection:
                await self._life.expect(authorization.connection_id, until=authorization.expires_at + UNCOLLECTED_FOR)
            connection = await self._completions.complete_in_browser(session, request_id=request_id, taken=taken)
        except BrokerError:
            await self._reopen(authorization, session)
            raise
        handle = new_handle(authorization)
        if not await self._step(
            authorization, session, [DeviceStatus.REDEEMING], DeviceStatus.APPROVED, handle_digest=digest(handle)
        ):
            # The machine has stopped asking: nobody will ever use what was connected for it.
            await self._life.discard(connection)
            raise UserCodeUnknown(_UNKNOWN)
        await self._stored.forget_user_code(authorization)
        metrics.device_logins.labels(authorization.provider, "approved").inc()
        log.info("device.approved", provider=authorization.provider, connection_id=connection.id)
        return Approved(authorization, connection, handle)

    def _waits(self, authorization: DeviceAuthorization) -> bool:
        return (
            authorization.mode is DeviceMode.BRIDGE
            and (authorization.status in _OPEN or self._was_dropped(authorization))
            and self._clock() < authorization.expires_at
        )

    def _was_dropped(self, authorization: DeviceAuthorization) -> bool:
        """Whether a process died while it redeemed the provider's yes."""
        return authorization.status is DeviceStatus.REDEEMING and self._clock() >= authorization.redeeming_until

    async def _of(self, session: ConnectSession) -> DeviceAuthorization | None:
        return await self._stored.read(session.device_authorization) if session.device_authorization else None

    async def _deny(self, authorization: DeviceAuthorization, session: ConnectSession | None = None) -> bool:
        denied = await self._stored.step(
            authorization,
            now=self._clock(),
            among=_OPEN,
            where={"session_id": session.id} if session else {},
            change={"status": DeviceStatus.DENIED},
        )
        if denied:
            await self._stored.forget_user_code(authorization)
            metrics.device_logins.labels(authorization.provider, "denied").inc()
            log.info("device.declined", provider=authorization.provider, client_id=authorization.client_id)
        return denied

    async def _reopen(self, authorization: DeviceAuthorization, session: ConnectSession) -> None:
        await self._step(
            authorization, session, [DeviceStatus.AUTHORIZING, DeviceStatus.REDEEMING], DeviceStatus.PENDING
        )

    async def _step(
        self,
        authorization: DeviceAuthorization,
        session: ConnectSession,
        among: list[DeviceStatus],
        to: DeviceStatus,
        **change: str | int,
    ) -> bool:
        """Move on, if the session is still the one that counts."""
        now, attempt = self._clock(), new_id("attempt")
        return await until_stored(
            lambda: self._stored.step(
                authorization,
                now=now,
                among=among,
                where={"session_id": session.id},
                change={"status": to, **change},
                attempt=attempt,
            ),
            what=f"step of {authorization.id}",
            attempts=_ATTEMPTS,
        )


def _order(authorization: DeviceAuthorization, provider: Provider) -> Order:
    return Order(
        tenant=authorization.tenant,
        client_id=authorization.client_id,
        client_name=authorization.client_name,
        provider=provider,
        subject=authorization.subject,
        completion=Completion.DEVICE,
        subject_name=None,
        scopes=authorization.scopes,
        parameters=authorization.parameters,
        return_url=None,
        state=None,
        label=authorization.device_name,
        metadata={},
        renews=None,
        allow_account_change=False,
        session_id=new_id("cs"),
        connection_id=authorization.connection_id,
        device_authorization=authorization.id,
    )

"""A person hands a credential in on our own page, instead of approving at the provider.

    bind → (format → live test → permissions → the same account) → awaiting completion

What passed is not a connection yet: it is kept, sealed, until the session is completed as any other, by the app that
confirms who is signed in, or by the browser that is bound. What didn't pass is kept nowhere.
"""

from dataclasses import dataclass, field

from broker.connections.arrival import Arrivals
from broker.connections.authorization import check_account
from broker.connections.intake import Intake, Taken
from broker.connections.journey import Journey, is_bound
from broker.connections.ordered import wanted_by
from broker.errors import Conflict, NotFound
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.providers import Provider
from broker.vault.records import Records
from broker.vault.sessions import Sessions
from broker.vault.typed import StoredTyped, Typed


@dataclass(frozen=True, slots=True)
class Submitted:
    """A credential was taken in, and the session awaits its completion."""

    session: ConnectSession
    completion_code: str | None = field(default=None, repr=False)
    """What the app gets through the browser, with completion ``app``."""
    taken: Taken | None = None
    """``None``: this browser sent the form before; what it did then stands."""


class Submissions:
    """Takes in what people type."""

    def __init__(
        self,
        sessions: Sessions,
        typed: StoredTyped,
        records: Records,
        journey: Journey,
        arrivals: Arrivals,
        intake: Intake,
    ) -> None:
        self._sessions = sessions
        self._typed = typed
        self._records = records
        self._journey = journey
        self._arrivals = arrivals
        self._intake = intake

    async def bind(self, session: ConnectSession, browser_secret: str | None) -> tuple[ConnectSession, str]:
        """The session as it is now, bound to the browser that sends the form, and that browser's secret.

        :raises NotFound, Conflict, Forbidden: as :meth:`Journey.check_open`.
        """
        secret = await self._journey.bind(session, browser_secret)
        current = await self._sessions.read(session.id)
        if current is None:
            raise NotFound("this link has expired")
        return current, secret

    async def submit(
        self, session: ConnectSession, provider: Provider, typed: Typed, browser_secret: str, *, request_id: str
    ) -> Submitted:
        """Judge what was typed, and keep what passes for the completion. Of many forms at once, one is kept.

        :param session: as :meth:`bind` answered it.
        :raises InvalidCredentials: naming the step that they failed; the person may try again.
        :raises InvalidRequest: the parameters are wrong; likewise.
        :raises AccountChanged: they belong to another account than the connection to renew; likewise.
        :raises Conflict: the session is past this step, with something else that was typed.
        :raises ProviderError, ProviderUnavailable: the provider can't be asked, or its answer says nothing.
        """
        if session.status is not SessionStatus.AUTHORIZING:
            return await self._again(session, typed, browser_secret)
        taken = await self._intake.check(wanted_by(session, provider, typed.parameters, request_id), typed.credentials)
        await self._check_account(session, taken)
        arrival = await self._arrivals.keep(session)
        if arrival is None:
            return await self._again(await self._sessions.read(session.id), typed, browser_secret)
        await self._keep(arrival.session, typed)
        return Submitted(arrival.session, arrival.completion_code, taken)

    async def _keep(self, session: ConnectSession, typed: Typed) -> None:
        # After the step, so that of many forms at once only the one that was taken is kept.
        await self._typed.keep(session, typed, milliseconds=max(1, self._arrivals.time_left(session)))

    async def _again(self, session: ConnectSession | None, typed: Typed, browser_secret: str) -> Submitted:
        """The same browser sends a form once more: it goes where the first one led."""
        if session is None or not is_bound(session, browser_secret) or session.status is SessionStatus.FAILED:
            raise Conflict("this link was used already")
        if session.status is SessionStatus.AWAITING_COMPLETION:
            if not self._arrivals.time_left(session):
                raise NotFound("this link has expired")
            kept = await self._typed.read(session)
            if kept is not None and kept != typed:
                raise Conflict("this link was used already")
            if kept is None:
                # The first form was taken, and the store could not be reached then.
                await self._keep(session, typed)
        carried = session.completion is Completion.CODE
        code = None if carried else (await self._sessions.open(session)).get("completion_code")
        return Submitted(session, code)

    async def _check_account(self, session: ConnectSession, taken: Taken) -> None:
        if not session.reconnect:
            return
        before = await self._records.read(session.connection_id or "")
        if before is None:
            raise NotFound("the connection to renew is gone")
        check_account(before.account, taken.account, allowed=session.allow_account_change)

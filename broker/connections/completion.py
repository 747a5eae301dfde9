"""Completing a connect session: the app proves who is signed in, and only then is the code redeemed, or what was typed
stored."""

import asyncio
from typing import Final

from broker.clock import Clock
from broker.connections.announcing import EXCHANGE_AT_MOST, Announcements
from broker.connections.authorization import AccountChanged, Authorizations
from broker.connections.detached import Detached
from broker.connections.handed_in import HandedIn
from broker.connections.intake import Taken
from broker.connections.journey import Journey
from broker.connections.ordered import wanted_by
from broker.connections.persistence import until_stored
from broker.connections.proof import CompletionRequest, Proofs
from broker.connections.verdict import blameless
from broker.errors import (
    BrokerError,
    Conflict,
    NotFound,
    NotSent,
    ProviderBusy,
    ProviderUnavailable,
)
from broker.models.connection import Connection
from broker.models.ids import new_id
from broker.models.session import ConnectSession, SessionStatus
from broker.providers import Provider, Registry
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet
from broker.vault.records import Records
from broker.vault.sessions import KEPT_AFTER_END, Sessions

_LOOKS_EVERY: Final = 0.05
_ATTEMPTS: Final = 8
_OTHERS_MAY_TAKE: Final = 20.0
"""How long a call waits for an exchange of another process, in seconds."""
_NOT_PROCESSED: Final = (NotSent, ProviderBusy)
"""What leaves an authorization code unused."""


class Completions:
    """Redeems codes for connections, each once."""

    def __init__(
        self,
        sessions: Sessions,
        records: Records,
        announcements: Announcements,
        journey: Journey,
        authorizations: Authorizations,
        handed_in: HandedIn,
        upstream: Upstream,
        providers: Registry,
        clock: Clock,
        public_url: str,
    ) -> None:
        self._sessions = sessions
        self._records = records
        self._announcements = announcements
        self._journey = journey
        self._proofs = Proofs(sessions, journey, clock)
        self._authorizations = authorizations
        self._handed_in = handed_in
        self._upstream = upstream
        self._providers = providers
        self._clock = clock
        self._public_url = public_url
        self._running: Detached[Connection] = Detached()

    async def complete(
        self, session: ConnectSession, proof: CompletionRequest, *, request_id: str | None
    ) -> Connection:
        """The connection that the session was opened for; repeating the call answers the same one.

        :raises SubjectMismatch: somebody else is signed in; the session is over and its code is gone.
        :raises InvalidRequest: not the session's completion code; after five such calls the session is over.
        :raises Conflict: the session is not awaiting completion.
        :raises NotFound: it has expired.
        :raises ProviderError, ProviderUnavailable: the provider did not redeem the code.
        :raises InvalidCredentials: it no longer takes what was typed.
        """
        await self._proofs.check(session, proof)
        match session.status_at(self._clock()):
            case SessionStatus.COMPLETED:
                return await self._made(session)
            case SessionStatus.AWAITING_COMPLETION | SessionStatus.EXCHANGING:
                return await self._running.join(session.id, lambda: self._redeem(session, request_id))
            case SessionStatus.EXPIRED:
                raise NotFound("the connect session has expired")
            case SessionStatus.FAILED:
                raise _failed(session)
            case _:
                raise Conflict("the connect session is not awaiting completion")

    async def complete_in_browser(
        self, session: ConnectSession, *, request_id: str | None, taken: Taken | None = None
    ) -> Connection:
        """Redeem at once, for clients registered for completion ``browser``. It works or the session is over.

        :param taken: what was typed, where it was judged a moment ago.
        :raises ProviderError, ProviderUnavailable: the provider did not redeem the code.
        """
        try:
            return await self._running.join(session.id, lambda: self._redeem(session, request_id, taken))
        except _NOT_PROCESSED as error:
            # The code is still good, but nobody holds a completion code to try again with.
            await self._journey.fail(session, [SessionStatus.AWAITING_COMPLETION], failure_of(error), _detail_of(error))
            raise

    async def drain(self, seconds: float) -> int:
        """Let running exchanges finish; answers how many did not within ``seconds``."""
        return await self._running.drain(seconds)

    async def _redeem(self, session: ConnectSession, request_id: str | None, taken: Taken | None = None) -> Connection:
        now, attempt = self._clock(), new_id("attempt")
        begun = await until_stored(
            lambda: self._sessions.step(
                session,
                now=now,
                among=[SessionStatus.AWAITING_COMPLETION],
                change={"status": SessionStatus.EXCHANGING, "expires_at": now + EXCHANGE_AT_MOST},
                keep=EXCHANGE_AT_MOST + KEPT_AFTER_END,
                attempt=attempt,
            ),
            what=f"exchange of {session.id}",
            attempts=_ATTEMPTS,
        )
        if not begun:
            return await self._made_elsewhere(session)
        try:
            connection = await self._exchange(session, request_id, taken)
        except _NOT_PROCESSED:
            # The provider has not seen the code, or did not look at it: it is as good as before.
            await self._sessions.step(
                session,
                now=self._clock(),
                among=[SessionStatus.EXCHANGING],
                change={"status": SessionStatus.AWAITING_COMPLETION, "expires_at": session.expires_at},
            )
            raise
        except BrokerError as caught:
            error = blameless(caught)
            await self._journey.fail(session, [SessionStatus.EXCHANGING], failure_of(error), _detail_of(error))
            raise error from None
        ended = {
            "status": SessionStatus.COMPLETED,
            "connection_id": connection.id,
            "code": "",
            "verifier": "",
        }
        await until_stored(
            lambda: self._sessions.step(
                session,
                now=self._clock(),
                among=[SessionStatus.EXCHANGING],
                change=ended,
                keep=KEPT_AFTER_END,
            ),
            what=f"completion of {session.id}",
            attempts=_ATTEMPTS,
        )
        await self._handed_in.erase(session)
        return connection

    async def _exchange(self, session: ConnectSession, request_id: str | None, taken: Taken | None) -> Connection:
        provider = self._providers.get(session.provider)
        if provider.connects_by == "form":
            return await self._handed_in.store(session, provider, taken, request_id=request_id)
        secrets = await self._sessions.open(session)
        if "code" not in secrets or "verifier" not in secrets:
            raise Conflict("the connect session is not awaiting completion")
        async with self._announcements.announced(session.id, provider, session.parameters):
            tokens = await self._upstream.exchange_code(
                provider,
                session.parameters,
                code=secrets["code"],
                verifier=secrets["verifier"],
                redirect_uri=provider.redirect_uri(self._public_url),
                scopes=session.scopes,
            )
            return await self._store(session, provider, tokens, request_id)

    async def _store(
        self, session: ConnectSession, provider: Provider, tokens: TokenSet, request_id: str | None
    ) -> Connection:
        wanted = wanted_by(session, provider, session.parameters, request_id)
        try:
            return await self._authorizations.store(wanted, tokens)
        except BrokerError as error:
            await self._authorizations.give_back(wanted, tokens)
            if isinstance(error, _NOT_PROCESSED):
                # The identity call came to nothing, but the code has been redeemed: it can't be tried again.
                raise ProviderUnavailable(error.detail) from None
            raise

    async def _made_elsewhere(self, session: ConnectSession) -> Connection:
        """Wait for the exchange that another process has begun."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _OTHERS_MAY_TAKE
        while loop.time() < until:
            current = await self._sessions.read(session.id)
            match current.status_at(self._clock()) if current else SessionStatus.EXPIRED:
                case SessionStatus.COMPLETED if current:
                    return await self._made(current)
                case SessionStatus.EXCHANGING:
                    await asyncio.sleep(_LOOKS_EVERY)
                case SessionStatus.AWAITING_COMPLETION:
                    raise ProviderUnavailable("the provider could not be reached; complete again")
                case SessionStatus.EXPIRED:
                    raise NotFound("the connect session has expired")
                case SessionStatus.FAILED if current:
                    raise _failed(current)
                case _:
                    raise Conflict("the connect session could not be completed")
        raise ProviderUnavailable("another process is redeeming the code; complete again", retry_after=5)

    async def _made(self, session: ConnectSession) -> Connection:
        connection = await self._records.read(session.connection_id or "")
        if connection is None:
            raise NotFound("the connection that this session made is gone")
        return connection


def failure_of(error: BrokerError) -> str:
    """How a session, and the app's return address, name what ended it."""
    return error.reason if isinstance(error, AccountChanged) else error.code


def _detail_of(error: BrokerError) -> str:
    return error.advice if isinstance(error, AccountChanged) else error.detail


def _failed(session: ConnectSession) -> Conflict:
    return Conflict(": ".join(filter(None, ("the connect session failed", session.error, session.error_detail))))

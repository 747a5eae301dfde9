"""The browser's way to the provider: who may press the button, what it takes along, and how it ends without an answer.

The way back is :mod:`broker.connections.arrival`.
"""

import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from broker.clock import Clock
from broker.errors import Conflict, Forbidden, NotFound, StoreUnavailable
from broker.models.ids import bearing_secret, digest, new_secret
from broker.models.session import ConnectSession, SessionStatus
from broker.providers import Provider
from broker.upstream.authorization_code import new_verifier
from broker.upstream.facade import Upstream
from broker.vault.sessions import KEPT_AFTER_END, Sessions
from broker.vault.typed import StoredTyped

AWAY: Final = 600_000
"""How long the browser may be away at the provider, in milliseconds."""
_DETAIL_AT_MOST: Final = 200
_PAST_THE_FORM: Final = frozenset(
    {SessionStatus.AWAITING_COMPLETION, SessionStatus.EXCHANGING, SessionStatus.COMPLETED}
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser goes, and the secret it carries as a cookie."""

    url: str
    session_id: str
    browser_secret: str = field(repr=False)


class Journey:
    """Sends browsers to providers."""

    def __init__(
        self,
        sessions: Sessions,
        typed: StoredTyped,
        upstream: Upstream,
        clock: Clock,
        public_url: str,
    ) -> None:
        self._sessions = sessions
        self._typed = typed
        self._upstream = upstream
        self._clock = clock
        self._public_url = public_url

    def check_open(self, session: ConnectSession, browser_secret: str | None) -> None:
        """Return if this browser can still press the button.

        :raises NotFound: the link has expired.
        :raises Conflict: the session has ended or is past this step.
        :raises Forbidden: another browser has the session.
        """
        status = session.status_at(self._clock())
        if status is SessionStatus.EXPIRED:
            raise NotFound("this link has expired")
        if status not in {SessionStatus.PENDING, SessionStatus.AUTHORIZING}:
            raise Conflict("this link was used already")
        check_browser(session, browser_secret)

    async def depart(self, session: ConnectSession, provider: Provider, browser_secret: str | None) -> Departure:
        """Bind the session to the browser that pressed the button, and answer where it goes.

        Pressing again in the same browser starts over with a new ``state`` and verifier.

        :raises Forbidden: another browser has the session already.
        :raises Conflict: the session has ended or is past this step.
        :raises ProviderError, ProviderUnavailable: the provider's endpoints can't be discovered.
        """
        self.check_open(session, browser_secret)
        now = self._clock()
        endpoints = await self._upstream.endpoints(provider, session.parameters)
        browser_secret = browser_secret if session.browser_digest and browser_secret else new_secret()
        state, verifier = bearing_secret("st", session.id), new_verifier()
        # Before the browser is bound: one that was bound and got no cookie could never come back.
        url = await self._upstream.authorization_url(
            provider,
            session.parameters,
            redirect_uri=provider.redirect_uri(self._public_url),
            state=state,
            scopes=session.scopes,
            verifier=verifier,
        )
        stepped = await self._sessions.step(
            session,
            now=now,
            among=[SessionStatus.PENDING, SessionStatus.AUTHORIZING],
            where={"browser_digest": session.browser_digest, "state_digest": session.state_digest},
            change={
                "status": SessionStatus.AUTHORIZING,
                "expires_at": now + AWAY,
                "browser_digest": digest(browser_secret),
                "state_digest": digest(state),
                "expected_issuer": endpoints.issuer or "",
                "issuer_required": "1" if endpoints.issuer_required else "",
                "verifier": self._sessions.seal(session, "verifier", verifier),
            },
            keep=AWAY + KEPT_AFTER_END,
        )
        if not stepped:
            raise Forbidden("this connection was just started in another window")
        return Departure(url, session.id, browser_secret)

    async def bind(self, session: ConnectSession, browser_secret: str | None) -> str:
        """Bind the session to a browser that stays here, on our own page; answers its secret.

        Where it is bound to this browser already, that stays so, also past this step: what was brought twice, by a
        double click say, is for the next step to judge.

        :raises NotFound, Conflict, Forbidden: as :meth:`check_open`.
        """
        if browser_secret and is_bound(session, browser_secret) and session.status in _PAST_THE_FORM:
            return browser_secret
        self.check_open(session, browser_secret)
        now, secret = self._clock(), browser_secret or new_secret()
        bound = await self._sessions.step(
            session,
            now=now,
            among=[SessionStatus.PENDING, SessionStatus.AUTHORIZING],
            where={"browser_digest": session.browser_digest},
            change={
                "status": SessionStatus.AUTHORIZING,
                "expires_at": now + AWAY,
                "browser_digest": digest(secret),
            },
            keep=AWAY + KEPT_AFTER_END,
        )
        current = session if bound else await self._sessions.read(session.id)
        if not bound and not (current and is_bound(current, secret)):
            raise Forbidden("this connection was just started in another window")
        return secret

    async def cancel(self, session: ConnectSession, browser_secret: str | None) -> None:
        """The person said no on our own page.

        :raises Forbidden: another browser has the session.
        :raises Conflict: the session has ended or is past this step.
        """
        self.check_open(session, browser_secret)
        if not await self.fail(session, [SessionStatus.PENDING, SessionStatus.AUTHORIZING], "access_denied"):
            raise Conflict("this connection was just continued in another window")

    async def fail(
        self, session: ConnectSession, among: list[SessionStatus], error: str, detail: str | None = None
    ) -> bool:
        """End the session with ``error``, if it stands ``among`` these statuses; code and verifier are erased, and
        what was typed.

        :param detail: a text about it that is safe to show; what is too long is cut.
        """
        detail = (detail or "")[:_DETAIL_AT_MOST]
        failed = await self._sessions.step(
            session,
            now=self._clock(),
            among=among,
            where={"state_digest": session.state_digest},
            change={
                "status": SessionStatus.FAILED,
                "error": error,
                "error_detail": detail,
                "state_digest": "",
                "verifier": "",
                "code": "",
            },
            keep=KEPT_AFTER_END,
        )
        if failed:
            # Else it is gone within minutes by itself.
            with suppress(StoreUnavailable):
                await self._typed.erase(session)
            # Here, where of many who report the same failure one is believed: so it is logged once.
            log.info(
                "connect.failed",
                session_id=session.id,
                provider=session.provider,
                completion=session.completion.value,
                error=error,
                detail=detail or None,
            )
        return failed


def check_browser(session: ConnectSession, browser_secret: str | None) -> None:
    """Return if the session is unbound, or bound to the browser with this secret.

    :raises Forbidden: it is bound to another browser.
    """
    if session.browser_digest and not is_bound(session, browser_secret):
        raise Forbidden("this connection was started in another browser")


def is_bound(session: ConnectSession, browser_secret: str | None) -> bool:
    """Whether the session is bound to the browser with this secret."""
    bound = session.browser_digest
    return bool(bound and browser_secret and hmac.compare_digest(bound, digest(browser_secret)))

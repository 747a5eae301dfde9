"""The browser's part of a connect session: to the provider, and back.

Nothing that comes back is believed until the ``state``, the path, the browser and the ``iss`` fit the session they
left with; and what came back is kept, sealed and unredeemed, for the completion.
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock
from broker.errors import Conflict, Forbidden, InvalidRequest, NotFound
from broker.models.ids import bearing_secret, digest, new_secret, owner_of
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.providers import Provider, Registry
from broker.upstream.authorization_code import new_verifier
from broker.upstream.authorization_response import check_issuer
from broker.upstream.facade import Upstream
from broker.vault.sessions import KEPT_AFTER_END, Sessions

AWAY: Final = 600_000
"""How long the browser may be away at the provider, in milliseconds."""
_COMPLETION_AT_MOST: Final = 300
"""Seconds; a provider's code that lives longer is kept no longer."""
_CONSONANTS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_OAUTH_ERROR: Final = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser goes, and the secret it carries as a cookie."""

    url: str
    session_id: str
    browser_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a browser came back: with a code for the app, with one already taken in, or with the provider's no."""

    session: ConnectSession
    completion_code: str | None = field(default=None, repr=False)
    error: str | None = None


class AnswerRefused(InvalidRequest):
    """What came back does not belong to the session it names; nothing was sent anywhere."""


class Journey:
    """Sends browsers to providers and takes them back."""

    def __init__(
        self, sessions: Sessions, upstream: Upstream, providers: Registry, clock: Clock, public_url: str
    ) -> None:
        self._sessions = sessions
        self._upstream = upstream
        self._providers = providers
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

    async def cancel(self, session: ConnectSession, browser_secret: str | None) -> None:
        """The person said no on our own page.

        :raises Forbidden: another browser has the session.
        :raises Conflict: the session has ended or is past this step.
        """
        self.check_open(session, browser_secret)
        if not await self.fail(session, [SessionStatus.PENDING, SessionStatus.AUTHORIZING], "access_denied"):
            raise Conflict("this connection was just continued in another window")

    async def find(self, provider_name: str, state: str) -> tuple[ConnectSession, Provider]:
        """The session that an answer of a provider belongs to.

        :raises AnswerRefused: no session waits for this ``state`` at this provider.
        """
        session_id = owner_of("st", "cs", state)
        session = await self._sessions.read(session_id) if session_id else None
        if (
            session is None
            or not session.state_digest
            or not hmac.compare_digest(session.state_digest, digest(state))
            or session.provider != provider_name
            or session.status_at(self._clock()) is not SessionStatus.AUTHORIZING
        ):
            raise AnswerRefused("this answer belongs to no connection that is being made now")
        return session, self._providers.get(session.provider)

    async def arrive(self, session: ConnectSession, answer: Mapping[str, str], browser_secret: str | None) -> Arrival:
        """Take in the provider's answer. Of the same answer brought many times, one is taken.

        :param answer: the query parameters of the callback, none repeated.
        :raises Forbidden: the answer comes from another browser than the one that left.
        :raises AnswerRefused: a wrong ``iss``, neither code nor error, or the answer was taken before.
        """
        if not session.browser_digest or browser_secret is None:
            raise Forbidden("this answer came to a browser that did not start the connection")
        check_browser(session, browser_secret)
        try:
            check_issuer(session.expected_issuer or None, answer.get("iss"), required=session.issuer_required)
        except InvalidRequest as error:
            await self.fail(session, [SessionStatus.AUTHORIZING], "invalid_issuer")
            raise AnswerRefused(error.detail) from None
        if "error" in answer:
            reason = answer["error"] if _OAUTH_ERROR.fullmatch(answer["error"]) else "provider_error"
            if not await self.fail(session, [SessionStatus.AUTHORIZING], reason):
                raise AnswerRefused("this answer was brought before")
            return Arrival(session, error=reason)
        if not answer.get("code"):
            await self.fail(session, [SessionStatus.AUTHORIZING], "provider_error")
            raise AnswerRefused("the provider answered neither a code nor an error")
        return await self._keep_code(session, answer["code"])

    async def fail(self, session: ConnectSession, among: list[SessionStatus], error: str) -> bool:
        """End the session with ``error``, if it stands ``among`` these statuses; code and verifier are erased."""
        return await self._sessions.step(
            session,
            now=self._clock(),
            among=among,
            where={"state_digest": session.state_digest},
            change={
                "status": SessionStatus.FAILED,
                "error": error,
                "state_digest": "",
                "verifier": "",
                "code": "",
            },
            keep=KEPT_AFTER_END,
        )

    async def _keep_code(self, session: ConnectSession, code: str) -> Arrival:
        provider, now = self._providers.get(session.provider), self._clock()
        completion_code = _short_code() if session.completion is Completion.CODE else new_secret()
        lifetime = completion_lifetime(provider) * 1000
        taken = await self._sessions.step(
            session,
            now=now,
            among=[SessionStatus.AUTHORIZING],
            where={"state_digest": session.state_digest},
            change={
                "status": SessionStatus.AWAITING_COMPLETION,
                "expires_at": now + lifetime,
                # Erasing the state is what makes the answer good for one time only.
                "state_digest": "",
                "code": self._sessions.seal(session, "code", code),
                # Sealed, not hashed: a short code is soon guessed by who can read its digest.
                "completion_code": self._sessions.seal(session, "completion_code", normalized_code(completion_code)),
            },
            keep=lifetime + KEPT_AFTER_END,
        )
        if not taken:
            raise AnswerRefused("this answer was brought before")
        current = await self._sessions.read(session.id)
        return Arrival(current or session, completion_code=completion_code)


def completion_lifetime(provider: Provider) -> int:
    """How long an answer of ``provider`` waits for its completion, in seconds."""
    return min(provider.code_lifetime, _COMPLETION_AT_MOST)


def check_browser(session: ConnectSession, browser_secret: str | None) -> None:
    """Return if the session is unbound, or bound to the browser with this secret.

    :raises Forbidden: it is bound to another browser.
    """
    bound = session.browser_digest
    if bound and not (browser_secret and hmac.compare_digest(bound, digest(browser_secret))):
        raise Forbidden("this connection was started in another browser")


def normalized_code(code: str) -> str:
    """A completion code as it is compared: a short one in any case, with or without its hyphen."""
    plain = code.replace("-", "").replace(" ", "").upper()
    return plain if len(plain) == 8 and set(plain) <= set(_CONSONANTS) else code


def _short_code() -> str:
    letters = "".join(secrets.choice(_CONSONANTS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"

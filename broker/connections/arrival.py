"""The browser's way back from the provider.

Nothing that comes back is believed until the ``state``, the path, the browser and the ``iss`` fit the session they
left with; and what came back is kept, sealed and unredeemed, for the completion.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock
from broker.connections.journey import Journey, check_browser, is_bound
from broker.connections.short_code import new_short_code, spelled
from broker.errors import Forbidden, InvalidRequest
from broker.models.ids import digest, new_secret, owner_of
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.providers import Provider, Registry
from broker.upstream.answers import safe_text
from broker.upstream.authorization_response import check_issuer
from broker.vault.sessions import KEPT_AFTER_END, Sessions

_COMPLETION_AT_MOST: Final = 300
"""Seconds; a provider's code that lives longer is kept no longer."""
_CODE_SHOWN: Final = frozenset({SessionStatus.AWAITING_COMPLETION, SessionStatus.EXCHANGING})
_MARKUP: Final = re.compile(r'[<>"\\]+')
_CODE_AT_MOST, _WORDS_AT_MOST = 64, 200
_OAUTH_ERROR: Final = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a browser came back: with the provider's code, which was taken in, or with its no."""

    session: ConnectSession
    completion_code: str | None = field(default=None, repr=False)
    """What the app gets through the browser, with completion ``app``."""
    error: str | None = None
    repeated: bool = False
    """Nothing was taken in: this browser brought the same answer before, and may see the code that it led to."""


class AnswerRefused(InvalidRequest):
    """What came back does not belong to the session it names; nothing was sent anywhere."""


class AnswerSpent(AnswerRefused):
    """No session waits for this answer: it was brought before, comes too late, or was never asked for."""


class NotThisBrowser(Forbidden):
    """The code to carry back is shown to the browser that came back from the provider, and to no other."""


class Arrivals:
    """Takes browsers back from providers."""

    def __init__(self, sessions: Sessions, journey: Journey, providers: Registry, clock: Clock) -> None:
        self._sessions = sessions
        self._journey = journey
        self._providers = providers
        self._clock = clock

    async def find(self, provider_name: str, state: str) -> tuple[ConnectSession, Provider]:
        """The session that an answer of a provider belongs to, or, with completion ``code``, belonged to.

        :raises AnswerSpent: no session waits for this ``state`` at this provider.
        """
        session_id = owner_of("st", "cs", state)
        session = await self._sessions.read(session_id) if session_id else None
        if (
            session is None
            or not session.state_digest
            or not hmac.compare_digest(session.state_digest, digest(state))
            or session.provider != provider_name
            or session.status_at(self._clock()) not in {SessionStatus.AUTHORIZING, *_CODE_SHOWN}
        ):
            raise AnswerSpent("this answer belongs to no connection that is being made now")
        return session, self._providers.get(session.provider)

    async def arrive(self, session: ConnectSession, answer: Mapping[str, str], browser_secret: str | None) -> Arrival:
        """Take in the provider's answer. Of the same answer brought many times, one is taken.

        With completion ``code`` the same browser may bring it again, while the code is shown: that is ``repeated``,
        and a person whose first page got lost sees the code after all.

        :param answer: the query parameters of the callback, none repeated.
        :raises Forbidden: the answer comes from another browser than the one that left.
        :raises AnswerRefused: a wrong ``iss``, or neither code nor error.
        :raises AnswerSpent: the answer was taken before.
        """
        if session.status is not SessionStatus.AUTHORIZING:
            return await self._again(session, answer, browser_secret)
        if not session.browser_digest or browser_secret is None:
            raise Forbidden("this answer came to a browser that did not start the connection")
        check_browser(session, browser_secret)
        try:
            check_issuer(session.expected_issuer or None, answer.get("iss"), required=session.issuer_required)
        except InvalidRequest as error:
            await self._journey.fail(session, [SessionStatus.AUTHORIZING], "invalid_issuer", error.detail)
            raise AnswerRefused(error.detail) from None
        if "error" in answer:
            reason, detail = _refusal(answer)
            if not await self._journey.fail(session, [SessionStatus.AUTHORIZING], reason, detail):
                raise AnswerSpent("this answer was brought before")
            return Arrival(session, error=reason)
        if not answer.get("code"):
            refused = AnswerRefused("the provider answered neither a code nor an error")
            await self._journey.fail(session, [SessionStatus.AUTHORIZING], "provider_error", refused.detail)
            raise refused
        arrival = await self.keep(session, answer["code"])
        return arrival or await self._again(await self._sessions.read(session.id), answer, browser_secret)

    async def code_of(self, session: ConnectSession, browser_secret: str | None) -> str | None:
        """The short code as it is shown, or ``None`` where the session no longer awaits its completion.

        :raises NotThisBrowser: this browser didn't bring the provider's answer, or its time is over.
        """
        if session.completion is not Completion.CODE or not is_bound(session, browser_secret):
            raise NotThisBrowser("this browser has no code to see")
        if session.status_at(self._clock()) not in _CODE_SHOWN:
            return None
        return spelled((await self._sessions.open(session))["completion_code"])

    def time_left(self, session: ConnectSession) -> int:
        """How long the present step may still take, in milliseconds."""
        return max(0, session.expires_at - self._clock())

    async def keep(self, session: ConnectSession, code: str = "") -> Arrival | None:
        """Let the session await its completion; ``None`` if it has left this step meanwhile.

        :param code: the provider's, to be redeemed then.
        """
        provider, now = self._providers.get(session.provider), self._clock()
        carried = session.completion is Completion.CODE
        completion_code = new_short_code() if carried else new_secret()
        lifetime = _completion_lifetime(provider) * 1000
        taken = await self._sessions.step(
            session,
            now=now,
            among=[SessionStatus.AUTHORIZING],
            where={"state_digest": session.state_digest},
            change={
                "status": SessionStatus.AWAITING_COMPLETION,
                "expires_at": now + lifetime,
                # The status makes the answer good for one time only. A code that is carried can be looked at again.
                "state_digest": session.state_digest if carried else "",
                "code": self._sessions.seal(session, "code", code) if code else "",
                # Sealed, not hashed: a short code is soon guessed by who can read its digest.
                "completion_code": self._sessions.seal(session, "completion_code", completion_code),
            },
            keep=lifetime + KEPT_AFTER_END,
        )
        if not taken:
            return None
        current = await self._sessions.read(session.id)
        return Arrival(current or session, completion_code=None if carried else completion_code)

    async def _again(
        self, session: ConnectSession | None, answer: Mapping[str, str], browser_secret: str | None
    ) -> Arrival:
        """An answer that was taken in before: the browser may see where that led, if the code is shown there."""
        if (
            session is None
            or session.completion is not Completion.CODE
            or session.status_at(self._clock()) not in _CODE_SHOWN
            or not is_bound(session, browser_secret)
        ):
            raise AnswerSpent("this answer was brought before")
        kept = (await self._sessions.open(session)).get("code", "")
        if not kept or not hmac.compare_digest(kept.encode(), answer.get("code", "").encode()):
            raise AnswerSpent("this answer was brought before, or is another one")
        return Arrival(session, repeated=True)


def _refusal(answer: Mapping[str, str]) -> tuple[str, str]:
    """The provider's error (RFC 6749 §4.1.2.1): its code, or our own for one that isn't well-formed, and its words.

    They came through the person's browser, so anybody may have written them: no markup is left in them.
    """
    code, secrets = answer["error"], (answer.get("state", ""), answer.get("code", ""))
    words = _MARKUP.sub("", safe_text(answer.get("error_description"), limit=_WORDS_AT_MOST, secrets=secrets))
    if _OAUTH_ERROR.fullmatch(code):
        return code, words
    named = _MARKUP.sub("", safe_text(code, limit=_CODE_AT_MOST, secrets=secrets))
    return "provider_error", ": ".join(filter(None, (named, words)))


def _completion_lifetime(provider: Provider) -> int:
    """How long an answer of ``provider`` waits for its completion, in seconds."""
    return min(provider.code_lifetime, _COMPLETION_AT_MOST)

"""Who completes a connect session: the code that came back through the browser, and the subject that is signed in."""

import hmac
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock
from broker.connections.journey import Journey
from broker.connections.short_code import normalized_code
from broker.errors import FieldFault, InvalidRequest, SubjectMismatch
from broker.models.session import ConnectSession, SessionStatus
from broker.vault.sessions import Sessions

_WRONG_CODES_AT_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """Who completes: the code that came back through the browser, and the subject that is signed in."""

    completion_code: str = field(repr=False)
    subject: str


class Proofs:
    """Judges who completes, before anything is sent to a provider."""

    def __init__(self, sessions: Sessions, journey: Journey, clock: Clock) -> None:
        self._sessions = sessions
        self._journey = journey
        self._clock = clock

    async def check(self, session: ConnectSession, proof: CompletionRequest) -> None:
        """Return if both are the session's.

        :raises SubjectMismatch: somebody else is signed in; the session is over and its code is gone.
        :raises InvalidRequest: not the session's completion code; after five such calls the session is over.
        """
        expected = (await self._sessions.open(session)).get("completion_code", "")
        presented = normalized_code(proof.completion_code)
        if not expected or not hmac.compare_digest(expected.encode(), presented.encode()):
            await self._count_wrong_code(session)
            fault = FieldFault("completion_code", "not the completion code of this session")
            raise InvalidRequest("the completion code is wrong", [fault])
        if proof.subject != session.subject:
            await self._journey.fail(session, [SessionStatus.AWAITING_COMPLETION], "subject_mismatch")
            raise SubjectMismatch("the signed-in subject is not the one this session was opened for")

    async def _count_wrong_code(self, session: ConnectSession) -> None:
        wrong = session.wrong_codes + 1
        if wrong >= _WRONG_CODES_AT_MOST:
            await self._journey.fail(session, [SessionStatus.AWAITING_COMPLETION], "too_many_wrong_codes")
            return
        counted = await self._sessions.step(
            session,
            now=self._clock(),
            among=[SessionStatus.AWAITING_COMPLETION],
            where={"wrong_codes": str(session.wrong_codes or "")},
            change={"wrong_codes": wrong},
        )
        current = None if counted else await self._sessions.read(session.id)
        if current and current.status is SessionStatus.AWAITING_COMPLETION:
            # Many guesses at the same moment each count.
            await self._count_wrong_code(current)

"""The device grant as its client (RFC 8628): ask for codes, then poll until the person has decided."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from broker.cli.faults import LoginFailed
from broker.cli.remote import Registration, RemoteBroker
from broker.clock import steady
from broker.errors import BrokerUnreachable, OAuthError, RateLimited

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL: Final = 5.0
"""Seconds between polls where the broker doesn't say (RFC 8628 §3.2)."""
_SLOWER: Final = 5.0
"""Seconds that each ``slow_down`` adds for good (RFC 8628 §3.5)."""
_LONGEST_PAUSE: Final = 60.0
_TICK: Final = 1.0
"""Seconds between two looks of the person at the time that is left."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the person is shown, and the code that the machine asks with."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: int
    """Seconds."""
    interval: float
    """Seconds between two polls, at least."""


def ask(broker: RemoteBroker, client: Registration, wish: Mapping[str, str]) -> Invitation:
    """Begin a login (RFC 8628 §3.1).

    :raises BrokerError: the broker refuses, or can't be reached.
    """
    body = broker.oauth("/oauth/device_authorization", wish, client)
    complete = body.get("verification_uri_complete")
    try:
        return Invitation(
            device_code=str(body["device_code"]),
            user_code=str(body["user_code"]),
            verification_uri=str(body["verification_uri"]),
            verification_uri_complete=None if complete is None else str(complete),
            expires_in=int(body["expires_in"]),
            interval=float(body.get("interval") or _INTERVAL),
        )
    except (KeyError, TypeError, ValueError):
        raise BrokerUnreachable(f"what answers at {broker.url} is not a broker: its answer has no codes") from None


class Waiting:
    """Polls until there is an answer; the network may come and go meanwhile."""

    def __init__(
        self,
        broker: RemoteBroker,
        client: Registration,
        *,
        now: Callable[[], float] = steady,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._broker = broker
        self._client = client
        self._now = now
        self._sleep = sleep

    def wait(self, invitation: Invitation, tell: Callable[[float, str], None]) -> dict[str, Any]:
        """The tokens' answer, once the person has agreed.

        :param tell: is told every second how many are left, and what is wrong meanwhile (empty: nothing).
        :raises LoginFailed: the person said no, or the time ran out.
        :raises BrokerError: the broker refuses for another reason.
        """
        form = {"grant_type": GRANT_TYPE, "device_code": invitation.device_code}
        ends_at = self._now() + invitation.expires_in
        interval, pause, trouble = invitation.interval, invitation.interval, ""
        while self._pass(pause, ends_at, partial(_told, tell, trouble)):
            try:
                return self._broker.oauth("/oauth/token", form, self._client)
            except OAuthError as error:
                interval += _SLOWER if error.error == "slow_down" else 0
                pause, trouble = interval, ""
                _check_pending(error)
            except (BrokerUnreachable, RateLimited) as error:
                # RFC 8628 §3.5: an exponential back-off; the person may be about to agree all the same.
                # At its longest it ends just before the code does.
                left = ends_at - self._now() - _TICK
                pause = max(min(pause * 2, _LONGEST_PAUSE, left), float(error.retry_after or 0), interval)
                trouble = error.detail
        raise LoginFailed(trouble or "the code has run out; begin again")

    def _pass(self, pause: float, ends_at: float, tell: Callable[[float], None]) -> bool:
        """Let ``pause`` go by; whether there is still time after it."""
        until = self._now() + pause
        while (now := self._now()) < until:
            if now >= ends_at:
                return False
            tell(ends_at - now)
            self._sleep(min(_TICK, until - now))
        return self._now() < ends_at


def _told(tell: Callable[[float, str], None], trouble: str, left: float) -> None:
    tell(left, trouble)


def _check_pending(error: OAuthError) -> None:
    """Return if the person has not decided yet.

    :raises LoginFailed: nobody will agree any more.
    """
    match error.error:
        case "authorization_pending" | "slow_down":
            return
        case "access_denied":
            raise LoginFailed(f"the login was declined: {error.detail}") from None
        case "expired_token":
            raise LoginFailed("the code has run out; begin again") from None
        case "invalid_grant":
            # Also where the answer that had the tokens was lost on its way: the code works once.
            raise LoginFailed("the code is no longer valid; begin again") from None
        case _:
            raise error

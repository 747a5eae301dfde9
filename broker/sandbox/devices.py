"""Device authorizations (RFC 8628): machines that wait for a person's decision. Pure state; no HTTP in here."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, auto

from broker.sandbox.behaviour import Behaviour
from broker.sandbox.errors import OAuthError
from broker.sandbox.grants import Clock, Grant

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
"""The grant type of a poll (RFC 8628 §3.4)."""

SLOWER = 5
"""Seconds that every ``slow_down`` adds to the interval (RFC 8628 §3.5)."""

_CONSONANTS = "BCDFGHJKLMNPQRSTVWXZ"
_HALF = 4
_MOST = 10_000


class Status(StrEnum):
    """How far an attempt is. That its time is over is not among these: the clock says so."""

    PENDING = auto()
    APPROVED = auto()
    DENIED = auto()
    SPENT = auto()
    """Tokens were issued for it."""


@dataclass(slots=True)
class DeviceAuthorization:
    """One attempt of a machine to log in, and the poll before the next."""

    client_id: str
    scopes: tuple[str, ...]
    user_code: str
    expires_at: float
    interval: int
    """Seconds to leave between two polls, as of now."""
    form_token: str = ""
    """What the last page that was shown for it carries; good for one decision."""
    status: Status = Status.PENDING
    grant: Grant | None = None
    polled_at: float | None = None


class Devices:
    """All device authorizations, the oldest forgotten when there are too many. ``early``: called for each poll that
    came before the interval in force had passed since the poll before."""

    def __init__(self, clock: Clock, *, early: Callable[[], None]) -> None:
        self._clock = clock
        self._early = early
        self._by_device_code: dict[str, DeviceAuthorization] = {}
        self._by_user_code: dict[str, DeviceAuthorization] = {}

    def start(self, client_id: str, scopes: tuple[str, ...], behaviour: Behaviour) -> tuple[str, DeviceAuthorization]:
        """A new attempt, with its device code."""
        if len(self._by_device_code) >= _MOST:
            oldest = self._by_device_code.pop(next(iter(self._by_device_code)))
            del self._by_user_code[oldest.user_code]
        device_code, expires_at = f"pdc_{secrets.token_urlsafe(32)}", self._clock() + behaviour.device_code_ttl
        attempt = DeviceAuthorization(
            client_id, scopes, self._new_user_code(), expires_at, interval=behaviour.device_interval
        )
        self._by_device_code[device_code] = self._by_user_code[attempt.user_code] = attempt
        return device_code, attempt

    def waiting(self, typed: str) -> DeviceAuthorization | None:
        """The attempt that waits under a user code as a person types it: case and punctuation don't matter (§6.1)."""
        attempt = self._by_user_code.get(_spelled("".join(letter for letter in typed.upper() if letter.isalpha())))
        if attempt is None or attempt.status is not Status.PENDING or self._clock() >= attempt.expires_at:
            return None
        return attempt

    def poll(self, device_code: str, *, client_id: str, slow_down: bool = False) -> Grant:
        """What the person allowed, once (RFC 8628 §3.4 and §3.5). Raises the error that says why not, or not yet.

        :param slow_down: whoever waits is told so though it was patient.
        """
        attempt, now = self._by_device_code.get(device_code), self._clock()
        if attempt is None or attempt.client_id != client_id:
            raise OAuthError("invalid_grant", "unknown device code")
        is_early = attempt.polled_at is not None and now < attempt.polled_at + attempt.interval
        attempt.polled_at = now
        if is_early:
            self._early()
        if attempt.status is Status.SPENT:
            raise OAuthError("invalid_grant", "the device code was already used")
        if attempt.status is Status.DENIED:
            raise OAuthError("access_denied", "the person said no")
        if now >= attempt.expires_at:
            raise OAuthError("expired_token", "the device code has expired")
        if attempt.grant is not None:
            attempt.status = Status.SPENT
            return attempt.grant
        if is_early or slow_down:
            attempt.interval += SLOWER
            raise OAuthError("slow_down", f"wait {attempt.interval} seconds between polls")
        raise OAuthError("authorization_pending", "the person has not decided yet")

    def _new_user_code(self) -> str:
        while True:
            code = _spelled("".join(secrets.choice(_CONSONANTS) for _ in range(2 * _HALF)))
            if code not in self._by_user_code:
                return code


def decide(attempt: DeviceAuthorization, grant: Grant | None) -> None:
    """Take the person's decision about an attempt that waits: what they allow, or ``None`` for nothing."""
    attempt.status = Status.DENIED if grant is None else Status.APPROVED
    attempt.grant = grant


def _spelled(letters: str) -> str:
    return f"{letters[:_HALF]}-{letters[_HALF:]}"

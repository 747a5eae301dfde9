"""What the provider was asked: tests compare these counts with what they expect the broker to have sent."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from broker.sandbox.devices import DEVICE_GRANT

_ENDPOINTS = (
    "metadata",
    "authorize",
    "device_authorization",
    "revoke",
    "introspect",
    "whoami",
    "api",
    "installation_tokens",
)
_OTHER = "other"
_POLLS = {
    "authorization_pending": "pending",
    "slow_down": "slow_down",
    "access_denied": "denied",
    "expired_token": "expired",
}
"""What device polls are refused with (RFC 8628 §3.5) → how it is counted; every other refusal is an ``error``."""


class Counters:
    """Requests by endpoint, token requests by grant type, outcome and how many at once, device polls, reuses."""

    def __init__(self, grant_types: Iterable[str]) -> None:
        self._grant_types = (*grant_types, _OTHER)
        self._token_now = 0
        self._token_waiting = 0
        self.reset()

    def reset(self) -> None:
        """Start again from zero; what is being handled stays so."""
        self._requests: Counter[str] = Counter()
        self._token: dict[str, Counter[str]] = {name: Counter() for name in self._grant_types}
        self._polls: Counter[str] = Counter()
        self._early_polls = 0
        self._reuse_detected = 0
        self._token_most_at_once = self._token_now

    def asked(self, endpoint: str) -> None:
        """One more request to ``endpoint``, whatever comes of it."""
        if endpoint not in _ENDPOINTS:
            raise ValueError(f"not a counted endpoint: {endpoint}")
        self._requests[endpoint] += 1

    def token_answered(self, grant_type: str | None, *, ok: bool, error: str = "") -> None:
        """One more token request; a missing or unknown grant type counts under ``other``.

        :param ok: tokens were issued, whatever the caller then gets to see of them.
        :param error: the code of the refusal, where there was one.
        """
        name = grant_type if grant_type in self._token else _OTHER
        self._token[name or _OTHER]["ok" if ok else "error"] += 1
        if name == DEVICE_GRANT:
            self._polls["ok" if ok else _POLLS.get(error, "error")] += 1

    def polled_early(self) -> None:
        """One more device poll that came before the interval in force had passed."""
        self._early_polls += 1

    def reuse_detected(self) -> None:
        """One more code or refresh token that came again and was refused for it."""
        self._reuse_detected += 1

    @contextmanager
    def handling_token(self) -> Iterator[None]:
        """A token request is being handled inside: read, held, worked on, delayed. Sending the answer is not."""
        self._token_now += 1
        self._token_most_at_once = max(self._token_most_at_once, self._token_now)
        try:
            yield
        finally:
            self._token_now -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A token request may be held inside."""
        self._token_waiting += 1
        try:
            yield
        finally:
            self._token_waiting -= 1

    def as_json(self) -> dict[str, object]:
        """All counts; what never happened is 0, never left out."""
        return {
            **{name: self._requests[name] for name in _ENDPOINTS},
            "token": {name: {"ok": counts["ok"], "error": counts["error"]} for name, counts in self._token.items()},
            "token_most_at_once": self._token_most_at_once,
            "token_waiting": self._token_waiting,
            "device_polls": {name: self._polls[name] for name in ("ok", *_POLLS.values(), "error")},
            "early_polls": self._early_polls,
            "reuse_detected": self._reuse_detected,
        }

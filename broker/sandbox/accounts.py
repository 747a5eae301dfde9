"""Invented people, their messages, and what the scopes mean in plain words."""

from collections.abc import Iterable
from dataclasses import dataclass

SCOPES = {
    "profile": "See your name and e-mail address",
    "messages.read": "Read your messages",
    "messages.write": "Send messages in your name",
    "offline_access": "Keep this access while you are away",
}
"""Every scope there is, with the sentence a person reads on the consent page."""

DEFAULT_SCOPES = ("profile",)
"""What a request without ``scope`` means (RFC 6749 §3.3)."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom tokens speak for: a person, or a client itself (then ``sub`` is its id and there is no e-mail)."""

    sub: str
    name: str
    email: str | None = None


PEOPLE = (
    Account("usr_1001", "Alice Practice", "alice@practice.example"),
    Account("usr_1002", "Bob Practice", "bob@practice.example"),
)
"""The accounts the consent page offers; the first is the default."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the tiny API."""

    id: int
    sender: str
    text: str


_INVENTED = {
    "usr_1001": (
        ("bob@practice.example", "The tide tables for Saturday are in."),
        ("harbour@practice.example", "Berth 14 is yours until the end of the month."),
        ("library@practice.example", "Your book on knots is due on Friday."),
    ),
    "usr_1002": (
        ("alice@practice.example", "Can you bring the second anchor?"),
        ("harbour@practice.example", "Your mooring fee has been received."),
    ),
}


class Mailboxes:
    """Everybody's messages; a subject without invented ones starts with an empty box."""

    def __init__(self) -> None:
        self._boxes: dict[str, list[Message]] = {}
        for sub, invented in _INVENTED.items():
            for sender, text in invented:
                self.add(sub, sender=sender, text=text)

    def of(self, sub: str) -> tuple[Message, ...]:
        """The messages of ``sub``, oldest first."""
        return tuple(self._boxes.get(sub, ()))

    def add(self, sub: str, *, sender: str, text: str) -> Message:
        """Append a message to the box of ``sub``."""
        box = self._boxes.setdefault(sub, [])
        message = Message(id=len(box) + 1, sender=sender, text=text)
        box.append(message)
        return message


def person(email: str | None) -> Account | None:
    """The account with this e-mail address."""
    return next((account for account in PEOPLE if account.email == email), None)


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """Those of ``scopes`` that this provider doesn't have."""
    return [scope for scope in scopes if scope not in SCOPES]

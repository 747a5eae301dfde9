"""Consent: what was asked for and what was granted, once per authorization of a connection."""

from dataclasses import dataclass
from typing import Final, Literal

from broker.models.account import Account

Means = Literal["browser", "form", "device", "api", "import"]
"""How it was given. ``browser``: approved at the provider. ``form``: a credential, handed in by its person on our own
page. ``device``: approved for a machine that has no screen. ``api``: a credential that a program or an operator handed
in, or the app's own. ``import``: taken over from another system."""

KEPT: Final = 20
"""How many authorizations of one connection are remembered: the latest."""


@dataclass(frozen=True, slots=True)
class Consent:
    """One authorization of a connection. Who granted it is the connection's subject, with this account."""

    at: int
    """When it was stored (ms)."""
    means: Means
    requested: tuple[str, ...]
    granted: tuple[str, ...]
    """What the provider said then; without a word of it: what was asked for (RFC 6749 §5.1)."""
    account: Account | None = None
    """The account it was given with; ``None``: nobody knows."""
    session: str | None = None
    """The connect session, device authorization or batch that it came through."""
    client_id: str | None = None
    """Who asked for it; ``None``: the operator, by a command."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What was asked for and not granted."""
        return tuple(scope for scope in self.requested if scope not in self.granted)

"""Whose account a connection is with, as its provider says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account it is, as the provider's whoami says. ``id`` is stable, ``name`` is for people."""

    id: str
    name: str | None = None

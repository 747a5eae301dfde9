"""How the provider behaves: the knobs that the command line sets and ``/control`` turns at run time."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any


class Rotation(StrEnum):
    """What a refresh does to the refresh token that was used."""

    NONE = "none"
    """It stays, and none is returned."""
    GRACE = "grace"
    """A new one each time; the old one keeps working for ``grace`` seconds."""
    STRICT = "strict"
    """A new one each time; the old one is refused at once, the grant lives on."""
    REVOKE_ON_REUSE = "revoke_on_reuse"
    """A new one each time; the old one coming again ends the whole grant (RFC 9700 §4.14.2)."""


_LEAST = {"access_token_ttl": 1, "grace": 0, "code_ttl": 1, "token_delay_ms": 0}


class SettingError(ValueError):
    """A knob that doesn't exist, or a value it can't take."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One consistent setting of all knobs."""

    rotation: Rotation = Rotation.NONE
    access_token_ttl: int = 3600
    """Seconds an access token lives."""
    grace: int = 60
    """Seconds a superseded refresh token keeps working (``Rotation.GRACE``)."""
    code_ttl: int = 600
    """Seconds an authorization code may wait to be redeemed."""
    auto_consent: bool = False
    """``GET /authorize`` grants everything at once, as the first account, without showing a page."""
    token_delay_ms: int = 0
    """Milliseconds between doing what a token request asks and answering it."""

    def changed(self, changes: Mapping[str, object]) -> "Behaviour":
        """This behaviour with ``changes`` made, all or none; raises :class:`SettingError` naming the key."""
        known = {field.name for field in fields(self)}
        if unknown := sorted(changes.keys() - known):
            raise SettingError(f"unknown setting: {', '.join(unknown)}")
        checked: dict[str, Any] = {name: _checked(name, value) for name, value in changes.items()}
        return replace(self, **checked)


def _checked(name: str, value: object) -> Rotation | bool | int:
    if name == "rotation":
        if not isinstance(value, str) or value not in list(Rotation):
            raise SettingError(f"rotation: must be one of {', '.join(Rotation)}")
        return Rotation(value)
    if name == "auto_consent":
        if not isinstance(value, bool):
            raise SettingError("auto_consent: must be true or false")
        return value
    least = _LEAST[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingError(f"{name}: must be a whole number, {least} or more")
    return value

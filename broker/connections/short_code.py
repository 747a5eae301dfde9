"""The short code of completion ``code``, which a person carries back: how it is made, spelled and compared."""

import secrets
from typing import Final

_CONSONANTS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH: Final = 8


def new_short_code() -> str:
    """Eight letters of twenty, which spell no word and can't be confused with digits (RFC 8628 §6.1)."""
    return "".join(secrets.choice(_CONSONANTS) for _ in range(_LENGTH))


def spelled(code: str) -> str:
    """A short code as a page shows it: ``WDJB-MJHT``."""
    return f"{code[: _LENGTH // 2]}-{code[_LENGTH // 2 :]}"


def normalized_code(code: str) -> str:
    """A completion code as it is kept and compared: a short one in any case, with or without its hyphen."""
    plain = code.replace("-", "").replace(" ", "").upper()
    return plain if len(plain) == _LENGTH and set(plain) <= set(_CONSONANTS) else code

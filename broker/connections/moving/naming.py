"""What may be told of what stood in a file where a name belongs: names, and nothing that could be a secret.

In a file whose columns are shifted anything may stand anywhere. What people call things is words; what nobody may see
is drawn at random, and shows that by its digits, its capitals or its length.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 40
_LONGEST_WORD: Final = 20
_DIGITS: Final = 3
"""As many as a version or a year in two digits needs."""
_WORDS: Final = re.compile(r"[a-z]+[0-9]*(?:[_ -](?:[a-z]+[0-9]*|[0-9]+))*")
_LONGEST_ID: Final = 64
"""Characters; the UUIDs and keys of databases have fewer."""


def is_name(text: str) -> bool:
    """Whether ``text`` looks like a name that somebody gave, such as ``github-app 2``: words in small letters, with
    digits at their end at most."""
    if len(text) > _LONGEST or not _WORDS.fullmatch(text) or sum(map(str.isdigit, text)) > _DIGITS:
        return False
    return max(map(len, re.split("[_ -]", text))) <= _LONGEST_WORD


def resembles(text: str, ours: Iterable[str]) -> bool:
    """Whether ``text`` has a word in common with one of ``ours``, or is nearly one; a password of plain words isn't."""
    ours = tuple(ours)
    words = {word for name in ours for word in re.split("[_ -]", name)}
    return not words.isdisjoint(re.split("[_ -]", text)) or bool(difflib.get_close_matches(text, ours, n=1))


def is_member(text: str) -> bool:
    """Whether ``text`` looks like the name of a member or column, such as ``accessToken``: as :func:`is_name`, and
    words may begin with a capital where the one before ends."""
    return is_name(re.sub(r"(?<=[a-z])[A-Z](?=[a-z])", lambda match: f"_{match[0].lower()}", text))


def is_identifier(text: str) -> bool:
    """Whether ``text`` may be told as what another system calls a row."""
    return 0 < len(text) <= _LONGEST_ID and text.isprintable()

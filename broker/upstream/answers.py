"""Reading any answer of a provider: its body, what counts as a refusal, and when it asks for patience."""

import json
import math
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from urllib.parse import parse_qsl, unquote_plus

from broker.errors import OutcomeUnknown, ProviderBusy, ProviderError
from broker.upstream.egress import InboundResponse
from broker.upstream.json_pointer import lookup

NAMELESS_ERROR = "unspecified_error"
"""Stands for a refusal whose code is missing or can't be shown."""

_MAX_RETRY_AFTER = 3600
_FORM = re.compile(r"[A-Za-z0-9_.~*!'()%+:/,;@$?=&-]+")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_RUN = 16
_BLOCK = _RUN // 2
"""Of the blocks of a secret, laid side by side, one stands whole in each of its runs."""
_JUDGED = 8192
_LONGEST_NUMBER = 4000
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no, in the provider's words: printable ASCII, short, and without secrets."""

    code: str
    description: str

    def __str__(self) -> str:
        return f"{self.code} ({self.description})" if self.description else self.code


def read_object(answer: InboundResponse) -> dict[str, object] | None:
    """The body as an object, from JSON or from a form, whatever it is labelled; ``None`` where it is neither.

    A member that stands twice makes the whole body unreadable: two readers could disagree about it.
    """
    try:
        text = answer.body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None
    try:
        document = json.loads(text, object_pairs_hook=_unique_members, parse_int=_whole_number)
    except (ValueError, RecursionError):
        # A page of HTML could be cut into "fields" as well, so the label and the alphabet are both asked.
        label = answer.headers.get("content-type", "").lower()
        return None if "html" in label or "json" in label else _read_form(text)
    return document if isinstance(document, dict) else None


def _whole_number(digits: str) -> float:
    # A number too long for Python to read must not make the tokens beside it unreadable.
    return int(digits) if len(digits) <= _LONGEST_NUMBER else math.inf


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _read_form(text: str) -> dict[str, object] | None:
    if not _FORM.fullmatch(text):
        return None
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=100)
        return _unique_members([*pairs])
    except ValueError:
        return None


def raise_if_unavailable(answer: InboundResponse, *, now: int) -> None:
    """Raise where the status alone says that the body can't be believed.

    :param now: milliseconds since the epoch.
    :raises ProviderBusy: 429, or 503 with Retry-After.
    :raises OutcomeUnknown: any other 5xx. Even with an error code inside, it is no verdict about a credential.
    :raises ProviderError: a redirect. It is never followed, for it would carry the secret to another address.
    """
    retry_after = _retry_after(answer, now)
    if answer.status == 429 or (answer.status == 503 and retry_after is not None):
        raise ProviderBusy(f"the provider asks for patience (HTTP {answer.status})", retry_after=retry_after)
    if answer.status >= 500:
        raise OutcomeUnknown(f"the provider failed (HTTP {answer.status})", retry_after=retry_after)
    if not 200 <= answer.status < 300 and answer.status < 400:
        raise ProviderError(f"the provider redirects (HTTP {answer.status}), which is not followed")


def _retry_after(answer: InboundResponse, now: int) -> int | None:
    """Retry-After (RFC 9110 §10.2.3) in seconds, between one second and one hour."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        seconds = int(value[:9])
    else:
        try:
            moment = parsedate_to_datetime(value)
            seconds = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) - now // 1000
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(seconds, 1), _MAX_RETRY_AFTER)


def refusal_in(
    document: dict[str, object],
    *,
    error: str = "/error",
    description: str = "/error_description",
    secrets: Collection[str] = (),
) -> Refusal | None:
    """The refusal that ``document`` states, whatever the status: an ``error``, or ``ok: false``.

    ``error`` and ``description`` are JSON pointers.

    :param secrets: what the text must not repeat.
    """
    code = lookup(document, error) or document.get("error")
    if not code and document.get("ok") is not False:
        return None
    return Refusal(
        safe_text(code, limit=64, secrets=secrets) or NAMELESS_ERROR,
        safe_text(lookup(document, description), limit=200, secrets=secrets),
    )


def safe_text(value: object, *, limit: int, secrets: Collection[str] = ()) -> str:
    """What of ``value`` may be shown: printable ASCII, cut to ``limit``; nothing if it repeats one of ``secrets``."""
    if not isinstance(value, str):
        return ""
    # Judged before it is cut, or pieces too short to be known could be left of what was spelt at length.
    text = _UNPRINTABLE.sub("", value[:_JUDGED])
    return "" if Unspeakable(secrets).repeated_in(text) else text[:limit].strip()


class Unspeakable:
    """What no text of a provider may repeat: any piece of a secret that is long enough to matter, however it is spelt.

    Providers repeat what they were sent: percent-encoded in an address, in base64 in a header, in hex in a log line, in
    whatever case. Shorter secrets are no secrets: looking for them would only garble the codes that decisions hang on.
    Looking takes time in proportion to the text, whatever a provider writes into it.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._known = [spelt.lower() for secret in secrets for spelt in _spellings(secret)]
        self._short = [secret for secret in self._known if _SHORTEST_SECRET <= len(secret) < _RUN]
        self._blocks = {
            secret[start : start + _BLOCK]
            for secret in self._known
            if len(secret) >= _RUN
            for start in range(0, len(secret) - _BLOCK + 1, _BLOCK)
        }

    def repeated_in(self, text: str) -> bool:
        """Whether ``text`` holds such a piece."""
        lowered = text.lower()
        return self._stands_in(lowered) or (("%" in text or "+" in text) and self._stands_in(unquote_plus(lowered)))

    def _stands_in(self, text: str) -> bool:
        if any(secret in text for secret in self._short):
            return True
        # Wherever a piece begins, it holds a whole block: so nearly every text is told from those that need a closer
        # look by an eighth of what that takes, of a long secret above all.
        if self._blocks.isdisjoint(_windows(text, _BLOCK)):
            return False
        return not self._runs.isdisjoint(_windows(text, _RUN))

    @cached_property
    def _runs(self) -> set[str]:
        return {run for secret in self._known for run in _windows(secret, _RUN)}


def _windows(text: str, length: int) -> Iterator[str]:
    """Each piece of ``text`` that is so long."""
    return (text[start : start + length] for start in range(len(text) - length + 1))


def _spellings(secret: str) -> tuple[str, ...]:
    if len(secret) < _SHORTEST_SECRET:
        return ()
    raw = secret.encode(errors="surrogatepass")
    return secret, b64encode(raw).decode().rstrip("="), urlsafe_b64encode(raw).decode().rstrip("="), raw.hex()

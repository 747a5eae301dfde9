"""What came back from a token endpoint (RFC 6749 §5): a set of tokens, or an error that says what to believe.

Pure, and tolerant only where providers are known to differ. No answer, however malformed, raises anything but
the errors named here or yields tokens that can't be used as they are.
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from broker.errors import OutcomeUnknown, ProviderError, ProviderRefused, UnusableToken
from broker.providers.schema import Provider, TokenResponse
from broker.upstream.answers import Unspeakable, raise_if_unavailable, read_object, refusal_in
from broker.upstream.egress import InboundResponse
from broker.upstream.json_pointer import lookup

CAUTIOUS_LIFETIME = 300
"""Seconds that a token is taken to live whose ``expires_in`` is zero, negative or not a number.

Not zero: every fetch would refresh. Not for ever: the token would be served after it died. Should it be dead
sooner after all, the caller who is refused reports so and it is refreshed then.
"""

_MAX_LIFETIME = 10 * 365 * 86_400
_MAX_KEPT = 4096
_MAX_KEPT_DEPTH = 16
_MAX_TOKEN = 16_384
_MAX_SCOPES = 500
_LONGEST_SCOPE = 255
_SENDER_CONSTRAINED = frozenset({"dpop", "mac", "pop"})
_TOKEN = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_SCOPE = re.compile(r"[\x21-\x7e]+")
_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What a token endpoint granted."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    """``None``: none came, and the one that was used stays (RFC 6749 §6)."""
    expires_in: int | None
    """Seconds the access token lives; ``None``: the provider names no end."""
    scopes: tuple[str, ...]
    """What was granted; what was asked for, where the answer doesn't say (RFC 6749 §5.1)."""
    refresh_token_expires_in: int | None = None
    """Seconds the refresh token lives; ``None``: the provider names no end."""
    provider_data: Mapping[str, object] = field(default_factory=dict)
    """The fields that the entry wants kept."""
    token_type: str = "Bearer"  # noqa: S105 - the name of a type
    asked_at: int = field(default=0, compare=False)
    """The moment before the request left (ms): the access token's life can't have begun earlier."""

    @property
    def expires_at(self) -> int | None:
        """When the access token ends (ms), rather too early than too late; ``None``: the provider names no end."""
        return None if self.expires_in is None else self.asked_at + self.expires_in * 1000

    @property
    def refresh_token_expires_at(self) -> int | None:
        """When the refresh token ends (ms), as :attr:`expires_at`."""
        lifetime = self.refresh_token_expires_in
        return None if lifetime is None else self.asked_at + lifetime * 1000


def parse_token_response(
    provider: Provider,
    answer: InboundResponse,
    *,
    requested_scopes: Sequence[str],
    now: int,
    secrets: Collection[str] = (),
    refreshed: bool = False,
) -> TokenSet:
    """Read the answer of a token endpoint.

    :param now: milliseconds since the epoch.
    :param secrets: what no error may repeat, beside the tokens of this answer.
    :param refreshed: it answers a refresh.
    :raises ProviderBusy: the provider asks for patience and did nothing.
    :raises ProviderRefused: it refused, with its error code. Only ``invalid_grant`` speaks about the grant.
    :raises ProviderError: it said no without a readable reason.
    :raises UnusableToken: it issued a token that can't be served as Bearer.
    :raises OutcomeUnknown: a 5xx, or a success that holds no token: what was sent may be spent.
    """
    raise_if_unavailable(answer, now=now)
    where = provider.token_response.refreshed if refreshed else provider.token_response
    succeeded = answer.status < 300
    document = read_object(answer)
    if document is not None:
        _raise_if_refused(where, document, answer.status, secrets)
    if not succeeded:
        raise ProviderError(f"the provider refused (HTTP {answer.status}) without a readable error")
    access_token = read_token(lookup(document, where.access_token))
    refresh_token = read_token(lookup(document, where.refresh_token))
    if document is None or access_token is None:
        unknown = OutcomeUnknown(f"the provider answered HTTP {answer.status} without a readable access token")
        unknown.refresh_token = refresh_token
        raise unknown
    if _is_sender_constrained(lookup(document, where.token_type)):
        # A key that we don't hold would have to sign each request: the token is useless to whoever fetches it.
        unusable = UnusableToken("the provider issued a sender-constrained token, which can't be served as Bearer")
        unusable.refresh_token = refresh_token
        raise unusable
    expires_in = _lifetime(lookup(document, where.expires_in))
    if expires_in is None and refresh_token is not None:
        expires_in = provider.refresh.default_expires_in
    granted = _scopes(provider, lookup(document, where.scope), requested_scopes)
    unspeakable = Unspeakable([*secrets, access_token, *filter(None, [refresh_token])])
    return TokenSet(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=expires_in,
        scopes=tuple(scope for scope in granted if not unspeakable.repeated_in(scope)),
        refresh_token_expires_in=whole_seconds(lookup(document, where.refresh_token_expires_in)),
        provider_data=_kept(document, where.keep, unspeakable),
    )


def _raise_if_refused(
    fields: TokenResponse, document: dict[str, object], status: int, secrets: Collection[str]
) -> None:
    issued = (lookup(document, fields.access_token), lookup(document, fields.refresh_token))
    unspeakable = [*secrets, *(token for token in issued if isinstance(token, str))]
    refusal = refusal_in(document, error=fields.error, description=fields.error_description, secrets=unspeakable)
    if refusal is not None:
        code = "invalid_grant" if refusal.code in fields.invalid_grant else refusal.code
        raise ProviderRefused(code, f"the provider refused: {refusal}", http_status=status)


def _is_sender_constrained(token_type: object) -> bool:
    return isinstance(token_type, str) and token_type.strip().lower() in _SENDER_CONSTRAINED


def read_token(value: object) -> str | None:
    """A token as RFC 6749 appendix A.12 spells it, so that it fits into a header; otherwise ``None``."""
    usable = isinstance(value, str) and len(value) <= _MAX_TOKEN and _TOKEN.fullmatch(value)
    return str(value) if usable else None


def _lifetime(value: object) -> int | None:
    return None if value is None else whole_seconds(value) or CAUTIOUS_LIFETIME


def whole_seconds(value: object) -> int | None:
    """A span of time that an answer names, in whole seconds, at least one; ``None`` for what is no such number."""
    match value:
        case str() if _NUMBER.fullmatch(value.strip()):
            seconds: float = float(value)
        case int() | float() if not isinstance(value, bool):
            seconds = value
        case _:
            return None
    # Compared before it is converted: NaN compares false, infinity is too much, an int may exceed any float.
    return min(int(seconds), _MAX_LIFETIME) if 1 <= seconds < math.inf else None


def _scopes(provider: Provider, said: object, requested: Sequence[str]) -> tuple[str, ...]:
    found = read_scopes(provider, said)
    if found is None:
        return tuple(requested)
    unlisted = provider.token_response.unlisted_scopes
    return (*found, *(scope for scope in requested if scope in unlisted and scope not in found))


def read_scopes(provider: Provider, said: object) -> tuple[str, ...] | None:
    """The scopes that a provider lists as text or as an array; ``None``: it lists none, not even the empty list."""
    match said:
        case str() as text:
            found = re.split(f"[{re.escape(provider.scope_separator)},\\s]+", text)
        case list() as several:
            found = [scope for scope in several if isinstance(scope, str)]
        case _:
            return None
    scopes = dict.fromkeys(scope for scope in found if len(scope) <= _LONGEST_SCOPE and _SCOPE.fullmatch(scope))
    return tuple(islice(scopes, _MAX_SCOPES))


def _kept(document: dict[str, object], pointers: Mapping[str, str], unspeakable: Unspeakable) -> dict[str, object]:
    found = {name: lookup(document, pointer) for name, pointer in pointers.items()}
    return {name: value for name, value in found.items() if value is not None and _storable(value, unspeakable)}


def _storable(value: object, unspeakable: Unspeakable) -> bool:
    """Whether ``value`` survives JSON and UTF-8 (NaN and lone surrogates don't), is small, not nested deeply, and no
    credential: it is stored and shown in the clear."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        return (
            _depth(value) <= _MAX_KEPT_DEPTH and len(text.encode()) <= _MAX_KEPT and not unspeakable.repeated_in(text)
        )
    except (ValueError, RecursionError):
        return False


def _depth(value: object) -> int:
    """How deeply ``value`` is nested; what is shown of it later is written by serializers that give up somewhere."""
    members: Iterable[object] = ()
    if isinstance(value, dict):
        members = value.values()
    elif isinstance(value, list):
        members = value
    return 1 + max(map(_depth, members), default=0)

"""How the provider behaves, and misbehaves: the knobs that the command line sets and ``/control`` turns at run time.

Each is a field of :class:`Behaviour`; how a value is checked stands in ``_CHECKS``. What the faults look like on the
wire is in ``faults``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from broker.sandbox.accounts import unknown_scopes

ABSENT = "absent"
"""The ``expires_in`` that leaves the member out."""


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


class RevocationEnds(StrEnum):
    """What ``/revoke`` of a token takes along."""

    GRANT = "grant"
    """A refresh token its grant, an access token only itself (RFC 7009 §2.1)."""
    ACCOUNT = "account"
    """Either of them all that its account ever allowed the app."""


class Fault(StrEnum):
    """What comes instead of the right answer."""

    NONE = "none"
    HANG = "hang"
    """Nothing, until the caller gives up."""
    TRICKLE = "trickle"
    """A 200 whose body is one blank a second and has no end."""
    CUT = "cut"
    """The connection is closed without an answer."""
    STATUS_500 = "status_500"
    STATUS_503 = "status_503"
    BUSY = "busy"
    """429."""
    HTML = "html"
    """A page of HTML with status 200, as a gateway puts before a service that is down."""
    ARRAY = "array"
    """The right members, as a JSON array with one object."""
    HUGE = "huge"
    """The right JSON, after 50 MB of blanks."""
    GZIP_BOMB = "gzip_bomb"
    """The same, packed into 50 kB."""
    OK_FALSE = "ok_false"
    """200 ``{"ok": false}``."""
    NO_ACCESS_TOKEN = "no_access_token"  # noqa: S105 - the name of a fault
    """200 with everything but the access token."""
    TOKEN_WITH_400 = "token_with_400"  # noqa: S105 - the name of a fault
    """The right JSON with status 400."""
    INVALID_GRANT = "invalid_grant"
    INVALID_CLIENT = "invalid_client"


class FaultWhen(StrEnum):
    """Whether a token request's work (redeeming, rotating, issuing) is done before the fault shows."""

    BEFORE = "before"
    """It is not: nothing has changed at the provider, and what a fault shows of tokens is invented."""
    AFTER = "after"
    """It is: a rotated refresh token that the fault keeps back is lost to the caller."""


class RefreshTokenForm(StrEnum):
    """How answers of the token endpoint show the refresh token, or that there is no new one."""

    NORMAL = "normal"
    ABSENT = "absent"
    EMPTY = "empty"
    """``""``."""
    NULL = "null"


class VerificationUriName(StrEnum):
    """What the answer to a device calls the address where its person goes."""

    URI = "verification_uri"
    URL = "verification_url"
    """As in the RFC's drafts, and as some providers have it still."""


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
    refresh_token_expires_in: int | None = None
    """Seconds after which a refresh token ends, counted anew from each refresh, and named in the answers; ``None``:
    never."""
    idle_expiry: int | None = None
    """Seconds without a refresh after which a refresh token ends; no answer says so. ``None``: never."""
    revocation_ends: RevocationEnds = RevocationEnds.GRANT
    clock_ahead: int = 0
    """Seconds that the provider's clock is ahead of the machine's: time that passes without anybody waiting."""
    granted_scopes: tuple[str, ...] | None = None
    """What token answers grant, whatever was allowed or asked for (the access token can do no more); ``None``: that."""

    key_scopes: tuple[str, ...] | None = None
    """What credentials may do that came without OAuth (``/keys``); ``None``: everything."""
    revoked_keys: tuple[str, ...] | None = None
    """Credentials that are refused: API keys, passwords, ids of keys and installations, e-mail addresses of service
    accounts, the client id of the app. ``None``: none."""

    device_grant: bool = True
    """Whether there is a device grant (RFC 8628) at all: endpoint, metadata, grant type."""
    device_slow_downs: int = 0
    """How many device polls more are told to slow down, whatever their pace."""
    device_interval: int = 5
    """Seconds that a device leaves between two polls, until it is told to slow down."""
    device_code_ttl: int = 900
    """Seconds a device waits for its person."""
    verification_uri_name: VerificationUriName = VerificationUriName.URI
    device_complete_uri: bool = True
    """Whether a device is also told the address that holds its code."""
    device_scopes: tuple[str, ...] | None = None
    """All that devices may ask for; ``None``: every scope."""

    token_delay_ms: int = 0
    """Milliseconds between doing what a token request asks and answering it."""
    hold_token_requests: bool = False
    """Token requests wait, before anything is done, until this is false again."""
    hold_token_answers: bool = False
    """Token requests are carried out (the counters say so), and the answers wait until this is false again."""

    token_fault: Fault = Fault.NONE
    """What ``/token`` answers."""
    api_fault: Fault = Fault.NONE
    """What ``/whoami`` and ``/api`` answer; always before the work."""
    fault_when: FaultWhen = FaultWhen.BEFORE
    """For ``token_fault``."""
    faults_left: int | None = None
    """How many more requests a fault hits; with the last one both faults are ``none`` again. 0: none at all.
    ``None``: until changed."""
    retry_after: int | None = None
    """Seconds in the ``Retry-After`` of ``status_503`` and ``busy``; ``None``: no such header."""
    expires_in: Any = None
    """The JSON value that stands for ``expires_in``, whatever the truth: 0, "abc", {} …; ``"absent"``: left out.
    ``{"json": text}``: that text as it stands, for what this request can't say (``1e400``, ``NaN``, ``null``).
    ``None``: the truth."""
    refresh_token_form: RefreshTokenForm = RefreshTokenForm.NORMAL

    def revokes(self, *names: str) -> bool:
        """Whether a credential that is known by one of these is refused."""
        return not set(names).isdisjoint(self.revoked_keys or ())

    def changed(self, changes: Mapping[str, object]) -> "Behaviour":
        """This behaviour with ``changes`` made, all or none; raises :class:`SettingError` naming the key."""
        known = {field.name for field in fields(self)}
        if unknown := sorted(changes.keys() - known):
            raise SettingError(f"unknown setting: {', '.join(unknown)}")
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            try:
                checked[name] = _CHECKS[name](value)
            except ValueError as error:
                raise SettingError(f"{name}: {error}") from None
        return replace(self, **checked)

    def after_a_fault(self) -> "Behaviour":
        """The behaviour once a fault has hit one more request."""
        if self.faults_left is None:
            return self
        if self.faults_left <= 1:
            return replace(self, token_fault=Fault.NONE, api_fault=Fault.NONE, faults_left=None)
        return replace(self, faults_left=self.faults_left - 1)


def _one_of(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    def check(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in list(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(value)

    return check


def _whole(least: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"must be a whole number, {least} or more")
        return value

    return check


def _or_null(check: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else check(value)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _scopes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(scope, str) for scope in value):
        raise ValueError("must be a list of scopes")
    if unknown_scopes(value):
        raise ValueError("must be scopes of this provider")
    return tuple(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _json_value(value: object) -> object:
    if isinstance(value, dict) and "json" in value and not isinstance(value["json"], str):
        raise ValueError("json: must be text")
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError('no JSON value; {"json": text} puts any text in its place') from None
    return value


_CHECKS: Mapping[str, Callable[[object], object]] = {
    "rotation": _one_of(Rotation),
    "access_token_ttl": _whole(1),
    "grace": _whole(0),
    "code_ttl": _whole(1),
    "auto_consent": _switch,
    "refresh_token_expires_in": _or_null(_whole(1)),
    "idle_expiry": _or_null(_whole(1)),
    "revocation_ends": _one_of(RevocationEnds),
    "clock_ahead": _whole(0),
    "granted_scopes": _or_null(_scopes),
    "key_scopes": _or_null(_scopes),
    "revoked_keys": _or_null(_texts),
    "device_grant": _switch,
    "device_slow_downs": _whole(0),
    "device_interval": _whole(1),
    "device_code_ttl": _whole(1),
    "verification_uri_name": _one_of(VerificationUriName),
    "device_complete_uri": _switch,
    "device_scopes": _or_null(_scopes),
    "token_delay_ms": _whole(0),
    "hold_token_requests": _switch,
    "hold_token_answers": _switch,
    "token_fault": _one_of(Fault),
    "api_fault": _one_of(Fault),
    "fault_when": _one_of(FaultWhen),
    "faults_left": _or_null(_whole(0)),
    "retry_after": _or_null(_whole(0)),
    "expires_in": _json_value,
    "refresh_token_form": _one_of(RefreshTokenForm),
}

"""When a connection is refreshed next without anybody asking. Pure.

    success → ahead of the token's end │ idle at that time → only so often that the provider doesn't expire it
    failure → back off

What comes out is ``health.next_refresh_at``: the write that stores it puts it among the due work, too. Every time is
spread at random over an eighth of what it measures, always towards early: connections that were made in one minute
don't come due in one, and no two replicas agree on a moment.
"""

import random
from collections.abc import Callable
from typing import Final

from broker.connections.verdict import SPENT_PERHAPS
from broker.errors import BrokerError, ReauthRequired
from broker.models.connection import Connection
from broker.providers import Provider

_SOONEST: Final = 5_000
"""Milliseconds. Tokens that live shorter than twice this are refreshed when somebody asks, not in a loop."""
_BACK_OFF_FROM: Final = 5_000
_BACK_OFF_TO: Final = 900_000
_DOUBLINGS: Final = 8
_CHECK_AGAIN: Final = 900_000
_KEEPALIVE_MARGIN: Final = 86_400_000
"""Milliseconds before a refresh token's known end by which it is used."""

Chance = Callable[[], float]
"""Answers a number from 0 to 1, each as likely as any other."""


def after_success(
    connection: Connection,
    provider: Provider,
    *,
    now: int,
    has_refresh_token: bool,
    chance: Chance = random.random,
) -> int | None:
    """When a connection whose credential was stored at ``now`` (ms) is refreshed next, or ``None``: never by itself.

    That is ``refresh.ahead`` before the access token's end, or a quarter of its life where that is less, so never in
    the first half of it. The refresh token mustn't lie unused until the provider expires it, however long the access
    token lives. Without a refresh token only what is issued to the app, or for what was handed in, can be renewed.

    :param connection: as it was just stored.
    """
    due = []
    ends = connection.access_token_expires_at
    if ends is not None and ends - now > 2 * _SOONEST and _renewable(connection, has_refresh_token):
        ahead = provider.refresh.ahead * 1000
        due.append(_before(ends, since=now, ahead=ahead, chance=chance))
    kept_alive = _kept_alive(connection, provider, since=now, has_refresh_token=has_refresh_token, chance=chance)
    if kept_alive is not None:
        due.append(kept_alive)
    return max(min(due), now + _SOONEST) if due else None


def when_idle(
    connection: Connection,
    provider: Provider,
    *,
    now: int,
    has_refresh_token: bool,
    chance: Chance = random.random,
) -> int | None:
    """When a connection that nobody uses is refreshed next, so that the provider doesn't expire its refresh token.

    ``refresh.keepalive`` after its last refresh, and a day before the refresh token's end where that is known.
    ``None``: there is nothing to keep alive. A time that is not after ``now`` (ms): at once.
    """
    refreshed = connection.health.last_refreshed_at or _moved_in_at(connection)
    since = min(connection.created_at if refreshed is None else refreshed, now)
    return _kept_alive(connection, provider, since=since, has_refresh_token=has_refresh_token, chance=chance)


def keepalive_is_due(connection: Connection, provider: Provider, *, now: int, has_refresh_token: bool) -> bool:
    """Whether the time that :func:`when_idle` speaks of has come at ``now`` (ms), by its earliest spread."""
    due = when_idle(connection, provider, now=now, has_refresh_token=has_refresh_token, chance=lambda: 1.0)
    return due is not None and due <= now


def is_active(connection: Connection, provider: Provider, now: int) -> bool:
    """Whether the connection was used within ``refresh.active_within`` before ``now`` (ms).

    One that was never used counts from when it was made; one that was moved in is not active before its first use: its
    refresh token may still be in use where it comes from. Uses are noted to the minute.
    """
    if connection.last_used_at is None and _moved_in_at(connection) is not None:
        return False
    last = connection.created_at if connection.last_used_at is None else connection.last_used_at
    return now - last < provider.refresh.active_within * 1000


def after_failure(
    connection: Connection,
    provider: Provider,
    error: BrokerError,
    *,
    failures: int,
    now: int,
    has_refresh_token: bool = True,
    chance: Chance = random.random,
) -> int | None:
    """When a refresh that ended in ``error`` is tried again by itself, or ``None``: only when somebody asks.

    The more failures in a row, the later: 5 seconds, doubling up to 15 minutes, half of it at random, and not before
    the time that the provider named. Where the refresh token may be used up and sending it again could end the grant,
    not before the access token's end: then nothing is left to lose.

    :param failures: in a row, this one included; at least 1.
    :param has_refresh_token: without one, trying again is in vain, except where tokens are issued without.
    """
    if isinstance(error, ReauthRequired) or not _renewable(connection, has_refresh_token):
        return None
    delay = min(_BACK_OFF_FROM << min(failures - 1, _DOUBLINGS), _BACK_OFF_TO)
    spread = int(delay / 2 * chance())
    due = now + max(delay // 2, (error.retry_after or 0) * 1000) + spread
    spendable = not connection.issued
    if spendable and isinstance(error, SPENT_PERHAPS) and not provider.refresh.may_repeat(since=(due - now) / 1000):
        ends = connection.access_token_expires_at
        return None if ends is None else max(due, ends + spread)
    return due


def next_check(provider: Provider, *, now: int, failures: int = 0, chance: Chance = random.random) -> int | None:
    """When a connection that was just made or tested (``now``, ms) is tested by itself, or ``None``: never.

    :param failures: that there were in a row. After one, in a quarter of an hour; after each further one, in twice the
        time, until it is the usual one.
    """
    if provider.identity is None or not provider.identity.check_every:
        return None
    usual = provider.identity.check_every * 1000
    wait = min(_CHECK_AGAIN << min(failures - 1, _DOUBLINGS), usual) if failures else usual
    return _before(now + wait, since=now, ahead=0, chance=chance)


def check_is_due(connection: Connection, provider: Provider, *, now: int) -> int:
    """When it is time to test ``connection``, whose turn has come (``now``, ms): so long after it last worked, by its
    earliest spread. If something went wrong since, it is time now."""
    health = connection.health
    if health.consecutive_failures:
        return now
    known = max(health.last_checked_at or 0, health.last_refreshed_at or 0)
    return next_check(provider, now=min(known, now), chance=lambda: 1.0) or now


def _moved_in_at(connection: Connection) -> int | None:
    """When it was taken over from another system (ms), if it has not been refreshed here since."""
    latest = connection.consents[-1] if connection.consents else None
    fresh = latest is not None and latest.means == "import" and connection.health.last_refreshed_at is None
    return latest.at if latest is not None and fresh else None


def _renewable(connection: Connection, has_refresh_token: bool) -> bool:
    return has_refresh_token or connection.issued


def _kept_alive(
    connection: Connection, provider: Provider, *, since: int, has_refresh_token: bool, chance: Chance
) -> int | None:
    if not has_refresh_token:
        return None
    due = []
    if provider.refresh.keepalive:
        due.append(_before(since + provider.refresh.keepalive * 1000, since=since, ahead=0, chance=chance))
    if connection.refresh_token_expires_at is not None:
        ends = connection.refresh_token_expires_at
        due.append(_before(ends, since=since, ahead=_KEEPALIVE_MARGIN, chance=chance))
    return min(due, default=None)


def _before(end: int, *, since: int, ahead: int, chance: Chance) -> int:
    """A moment ``ahead`` of ``end`` or, of what began at ``since``, a quarter before; and up to an eighth earlier."""
    life = max(end - since, 0)
    return end - min(ahead, life // 4) - int(life / 8 * chance())

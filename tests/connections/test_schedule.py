"""When a connection is refreshed next: never in a loop, never all at once, never after it is too late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.connections.schedule import after_failure, after_success, is_active, keepalive_is_due, when_idle
from broker.errors import (
    BrokerError,
    NotSent,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ReauthRequired,
    UnusableToken,
)
from broker.models.connection import Connection, Health
from broker.providers import Provider
from broker.providers.sections import Refresh
from tests.vault.samples import NOW, a_connection

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
chances = st.floats(0, 1)
lives = st.integers(-DAY, 400 * DAY)
lost = OutcomeUnknown("lost")


def a_provider(**refresh: object) -> Provider:
    """A provider whose ``refresh`` section says this."""
    return Provider(
        display_name="Practice",
        authorization_endpoint="https://provider.example/authorize",
        token_endpoint="https://provider.example/token",
        refresh=Refresh.model_validate(refresh),
    )


def a_token(life: int | None, **changes: object) -> Connection:
    """A connection whose access token lives so long (ms) from ``NOW``, and whose refresh token's end nobody knows."""
    ends = None if life is None else NOW + life
    return a_connection(**{"access_token_expires_at": ends, "refresh_token_expires_at": None, **changes})


@given(life=lives, ahead=st.integers(0, 10_000), chance=chances)
def test_a_token_is_refreshed_in_the_second_half_of_its_life(life: int, ahead: int, chance: float) -> None:
    """However early it is asked for, a success is not followed by a refresh at once; nor at all by itself, where the
    token lives a few seconds only."""
    provider = a_provider(ahead=ahead, keepalive=0)
    due = after_success(a_token(life), provider, now=NOW, has_refresh_token=True, chance=lambda: chance)
    assert (due is None) == (life <= 10 * SECOND)
    if due is None:
        return
    assert due >= NOW + max(life // 2, 5 * SECOND)
    assert due <= NOW + max(life - min(ahead * SECOND, life // 4), 5 * SECOND)


def test_tokens_made_together_are_not_refreshed_together() -> None:
    """Ten thousand of one moment, valid for an hour: no minute has more than a sixth of them."""  # F7
    connection, provider = a_token(HOUR), a_provider()
    minutes = [0] * 60
    for _ in range(10_000):
        due = after_success(connection, provider, now=NOW, has_refresh_token=True)
        assert due is not None
        minutes[(due - NOW) // MINUTE] += 1
    assert max(minutes) < 10_000 / 6
    assert sum(minutes[:46]) == 0
    assert sum(minutes[55:]) == 0


@given(chance=chances)
def test_an_hours_token_is_refreshed_five_minutes_ahead_or_a_little_earlier(chance: float) -> None:
    """``ahead`` is the latest; what is earlier is the spread."""
    due = after_success(a_token(HOUR), a_provider(ahead=300), now=NOW, has_refresh_token=True, chance=lambda: chance)
    assert due == NOW + 55 * MINUTE - int(HOUR / 8 * chance)


@pytest.mark.parametrize("life", [HOUR, None])
def test_what_cannot_be_renewed_is_never_due(life: int | None) -> None:
    """No refresh token, and no app of its own: only the person can bring it back."""
    connection, provider = a_token(life), a_provider()
    assert after_success(connection, provider, now=NOW, has_refresh_token=False) is None
    assert when_idle(connection, provider, now=NOW, has_refresh_token=False) is None
    assert not keepalive_is_due(connection, provider, now=NOW + 400 * DAY, has_refresh_token=False)
    assert after_failure(connection, provider, lost, failures=1, now=NOW, has_refresh_token=False) is None


def test_an_apps_own_token_needs_no_refresh_token_and_no_keepalive() -> None:
    """Client credentials: due before the token's end; idle or endless, never by itself."""
    provider = a_provider()
    hour, endless = (a_token(life, credential_type="client_credentials") for life in (HOUR, None))
    due = after_success(hour, provider, now=NOW, has_refresh_token=False)
    assert due is not None
    assert due <= NOW + 55 * MINUTE
    assert when_idle(hour, provider, now=NOW, has_refresh_token=False) is None
    assert after_success(endless, provider, now=NOW, has_refresh_token=False) is None


@given(life=st.one_of(st.none(), lives), chance=chances)
def test_a_refresh_token_never_lies_unused_longer_than_keepalive(life: int | None, chance: float) -> None:
    """Also when the access token lives longer, or for ever, and somebody uses it every day."""
    provider = a_provider(keepalive=30 * 86_400)
    due = after_success(a_token(life), provider, now=NOW, has_refresh_token=True, chance=lambda: chance)
    assert due is not None
    assert due <= NOW + 30 * DAY


@given(own=st.integers(0, 400 * DAY), chance=chances, idle=st.booleans())
def test_a_refresh_token_is_used_before_its_own_end(own: int, chance: float, idle: bool) -> None:
    """A day before it where it lives long enough, in the second half of its life otherwise."""
    connection = a_token(None, refresh_token_expires_at=NOW + own, health=Health(last_refreshed_at=NOW))
    provider = a_provider(keepalive=0)
    plan = when_idle if idle else after_success
    due = plan(connection, provider, now=NOW, has_refresh_token=True, chance=lambda: chance)
    assert due is not None
    assert NOW + own // 2 <= max(due, NOW + own // 2 + 1)
    assert due <= max(NOW + own - min(DAY, own // 4), NOW + 5 * SECOND)


@given(chance=chances, passed=st.integers(0, 29))
def test_an_idle_connection_is_refreshed_so_long_after_its_last_refresh(chance: float, passed: int) -> None:
    """The last one counts, not the moment of planning; planned again and again it doesn't move out of sight."""
    connection = a_token(HOUR, created_at=NOW - 90 * DAY, health=Health(last_refreshed_at=NOW))
    provider, now = a_provider(keepalive=30 * 86_400), NOW + passed * DAY
    due = when_idle(connection, provider, now=now, has_refresh_token=True, chance=lambda: chance)
    assert due is not None
    assert NOW + 26 * DAY <= due <= NOW + 30 * DAY
    assert keepalive_is_due(connection, provider, now=now, has_refresh_token=True) is (passed >= 27)


def test_a_connection_that_was_never_refreshed_is_kept_alive_from_when_it_was_made() -> None:
    """Its refresh token is as old as it is."""
    due = when_idle(a_token(HOUR), a_provider(), now=NOW + DAY, has_refresh_token=True, chance=lambda: 0.0)
    assert due == NOW + 30 * DAY


def test_without_keepalive_an_idle_connection_is_left_alone() -> None:
    """0 says that the provider expires no idle token."""
    assert when_idle(a_token(HOUR), a_provider(keepalive=0), now=NOW, has_refresh_token=True) is None


@pytest.mark.parametrize(
    ("used", "now", "active"),
    [
        (None, NOW + DAY - 1, True),
        (None, NOW + DAY, False),
        (NOW + DAY, NOW + 2 * DAY - 1, True),
        (NOW + DAY, NOW + 2 * DAY, False),
        (NOW, NOW - HOUR, True),
    ],
)
def test_a_connection_is_in_use_for_a_while_after_each_use(used: int | None, now: int, active: bool) -> None:
    """Never used, it counts from when it was made; a clock that went back makes nobody idle."""
    assert is_active(a_token(HOUR, last_used_at=used), a_provider(active_within=86_400), now) is active


@pytest.mark.parametrize("policy", [{"rotation": "none"}, {"rotation": "grace", "grace": 3600}])
@given(failures=st.integers(1, 10_000), chance=chances)
def test_failures_are_followed_by_longer_and_longer_waits(
    policy: dict[str, object], failures: int, chance: float
) -> None:
    """Five seconds, doubling up to a quarter of an hour; half of it is chance."""
    for error in (NotSent("x"), lost, ProviderError("x"), UnusableToken("x")):
        due = after_failure(
            a_token(HOUR), a_provider(**policy), error, failures=failures, now=NOW, chance=lambda: chance
        )
        longest = min(5 * SECOND * 2 ** min(failures - 1, 20), 15 * MINUTE)
        assert due is not None
        assert longest // 2 <= due - NOW <= longest


@given(seconds=st.integers(1, 3600), chance=chances)
def test_what_the_provider_said_is_waited_for(seconds: int, chance: float) -> None:
    """At least so long, and not everybody at the same moment."""  # P8
    busy = ProviderBusy("patience", retry_after=seconds)
    due = after_failure(a_token(HOUR), a_provider(), busy, failures=1, now=NOW, chance=lambda: chance)
    assert due is not None
    assert seconds * SECOND <= due - NOW <= seconds * SECOND + 5 * SECOND


def test_the_end_of_a_grant_is_not_followed_by_anything() -> None:
    """Only the person can bring it back."""  # P7
    assert after_failure(a_token(HOUR), a_provider(), ReauthRequired("over"), failures=1, now=NOW) is None


@pytest.mark.parametrize("rotation", ["strict", "revoke_on_reuse", "unknown"])
@pytest.mark.parametrize("error", [lost, UnusableToken("x")])
@given(life=st.integers(0, DAY), failures=st.integers(1, 50), chance=chances)
def test_while_there_is_something_to_lose_an_unknown_outcome_is_not_tried_again(
    rotation: str, error: BrokerError, life: int, failures: int, chance: float
) -> None:
    """The refresh token may be used up, and sending it again could end the grant: the access token is lived out."""
    provider = a_provider(rotation=rotation)
    due = after_failure(a_token(life), provider, error, failures=failures, now=NOW, chance=lambda: chance)
    assert due is not None
    assert due >= NOW + life
    assert due <= NOW + max(life + 8 * MINUTE, 15 * MINUTE)
    assert after_failure(a_token(None), provider, error, failures=failures, now=NOW) is None


def test_an_apps_own_token_is_asked_for_again_whatever_came_of_the_last_time() -> None:
    """Client credentials spend nothing."""
    connection = a_token(HOUR, credential_type="client_credentials")
    due = after_failure(connection, a_provider(), lost, failures=1, now=NOW, has_refresh_token=False)
    assert due is not None
    assert due <= NOW + 5 * SECOND


@pytest.mark.parametrize(
    "error", [NotSent("x"), ProviderRefused("invalid_client", "x", http_status=401), ProviderBusy("x")]
)
def test_what_was_not_processed_is_tried_again_under_every_policy(error: BrokerError) -> None:
    """The refresh token is as it was."""
    due = after_failure(a_token(HOUR), a_provider(rotation="strict"), error, failures=1, now=NOW)
    assert due is not None
    assert due <= NOW + 5 * SECOND


def test_after_the_grace_an_unknown_outcome_is_not_tried_again() -> None:
    """By the time that it would be, the predecessor may be dead: then as with the strict ones."""
    provider = a_provider(rotation="grace", grace=60)
    assert after_failure(a_token(HOUR), provider, lost, failures=1, now=NOW) < NOW + MINUTE  # type: ignore[operator]
    assert after_failure(a_token(HOUR), provider, lost, failures=8, now=NOW) >= NOW + HOUR  # type: ignore[operator]

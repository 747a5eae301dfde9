"""What is limited: by whom it is counted, how much is let pass, and what happens where nothing can be counted."""

from collections.abc import Awaitable, Callable

import pytest
import redis

from broker.access.limits import Limits, network_of, site_of
from broker.app.heart import Heart
from broker.errors import RateLimited
from broker.models.ids import new_id
from broker.vault.counters import Counters

ADDRESS = "203.0.113.7"


async def let_pass(call: Callable[[], Awaitable[None]], at_most: int = 2_000) -> int:
    """How many calls in a row were let pass."""
    for passed in range(at_most):
        try:
            await call()
        except RateLimited:
            return passed
    raise AssertionError("there is no limit")


@pytest.fixture
def limits(heart: Heart) -> Limits:
    """The limits of a composed broker."""
    return heart.limits


KINDS = {"failure": 120, "unproven": 120, "page": 600, "button": 120, "arrival": 600}


@pytest.mark.parametrize(("kind", "a_minute"), KINDS.items())
async def test_each_kind_has_a_limit_of_its_own(limits: Limits, kind: str, a_minute: int) -> None:
    """Then it is refused with the time to wait; the other kinds and other addresses don't suffer."""  # S8, F8
    call = getattr(limits, kind)
    assert await let_pass(lambda: call(ADDRESS)) == a_minute
    with pytest.raises(RateLimited) as refused:
        await call(ADDRESS)
    assert 0 < (refused.value.retry_after or 0) <= 60
    await call("203.0.113.8")
    for other in KINDS.keys() - {kind}:
        await getattr(limits, other)(ADDRESS)


async def test_failures_are_counted_by_the_client_that_was_named(limits: Limits, raw_store: redis.Redis) -> None:
    """A guess at one client's secret from many addresses is limited, too, whether there is such a client or not."""
    # S8
    for client_id in (new_id("cl"), "no such thing", ""):
        before = set(raw_store.keys("broker:count:failures_of_client/*"))
        await limits.failure("10.0.0.1", client_id)
        [counter] = set(raw_store.keys("broker:count:failures_of_client/*")) - before
        raw_store.set(counter, 599, keepttl=True)
        await limits.failure("10.0.0.2", client_id)
        with pytest.raises(RateLimited):
            await limits.failure("10.0.0.3", client_id)


async def test_one_address_cant_make_up_clients_without_end(limits: Limits, raw_store: redis.Redis) -> None:
    """Over its own limit no further name is counted; names are hashed, so a long one is no longer in the store."""
    # F8
    names = iter(range(300))
    assert await let_pass(lambda: limits.failure(ADDRESS, f"{next(names)}" * 1_000)) == 120
    for name in names:
        with pytest.raises(RateLimited):
            await limits.failure(ADDRESS, f"{name}" * 1_000)
    keys = raw_store.keys("broker:count:*")
    assert len(keys) == 1 + 120
    assert max(map(len, keys)) < 100
    assert all(0 < int(raw_store.pttl(key)) <= 60_000 for key in keys)


async def test_replicas_share_the_limits(limits: Limits, heart: Heart) -> None:
    """What one has counted, the other knows."""
    beside = Limits(Counters(heart.store))
    assert await let_pass(lambda: limits.button(ADDRESS)) == 120
    with pytest.raises(RateLimited):
        await beside.button(ADDRESS)


async def test_a_limit_ends_with_its_window(limits: Limits, raw_store: redis.Redis) -> None:
    """A minute after the first call counting starts anew."""
    await let_pass(lambda: limits.button(ADDRESS))
    [key] = raw_store.keys("broker:count:buttons/*")
    raw_store.pexpire(key, 0)
    await limits.button(ADDRESS)


async def test_what_cant_be_counted_is_not_refused(limits: Limits, heart: Heart) -> None:
    """A counter that fails locks nobody out."""
    await heart.store.aclose()
    for call in (limits.failure, limits.unproven, limits.page, limits.button, limits.arrival):
        await call(ADDRESS)


async def test_a_refusal_tells_what_is_left_of_its_window(limits: Limits, raw_store: redis.Redis) -> None:
    """In whole seconds, rounded up: who comes back then is let pass."""  # F8
    await let_pass(lambda: limits.button(ADDRESS))
    [key] = raw_store.keys("broker:count:buttons/*")
    raw_store.pexpire(key, 30_000)
    with pytest.raises(RateLimited) as refused:
        await limits.button(ADDRESS)
    assert refused.value.retry_after == 30


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("203.0.113.7, 10.0.0.1", "unknown"),
        ("x" * 10_000, "unknown"),
        ("", "unknown"),
    ],
)
def test_who_is_counted_together(address: str, network: str) -> None:
    """An IPv6 host can take any address of its /64; what is no address shares one counter."""
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::", "2001:db8:1::/48"),
        ("2001:db8:2::", "2001:db8:2::/48"),
        ("203.0.113.7", None),
        ("::ffff:203.0.113.7", None),
        ("unknown", None),
    ],
)
def test_which_site_an_address_belongs_to(address: str, site: str | None) -> None:
    """The /48 of an IPv6 address; an IPv4 address is one customer's by itself."""
    assert site_of(address) == site


async def test_one_site_cant_use_up_the_wrong_codes_of_all(limits: Limits, raw_store: redis.Redis) -> None:
    """Thirty from its many networks, then no more of it is looked up; whoever is elsewhere goes on."""  # D1
    networks = iter(range(100))
    assert await let_pass(lambda: limits.user_code(f"2001:db8:1:{next(networks):x}::1", None)) == 30
    [total] = raw_store.keys("broker:count:user_codes_of_all/*")
    assert int(raw_store.get(total) or 0) == 30
    for elsewhere in ("2001:db8:2::1", ADDRESS):
        await limits.user_code(elsewhere, None)


async def test_a_right_code_counts_for_no_site(limits: Limits, raw_store: redis.Redis) -> None:
    """What :meth:`user_code` counted is given back by every counter."""
    for number in range(100):
        address = f"2001:db8:1:{number:x}::1"
        await limits.user_code(address, "browser")
        await limits.right_user_code(address, "browser")
    assert {int(raw_store.get(key) or 0) for key in raw_store.keys("broker:count:user_codes*")} <= {0}

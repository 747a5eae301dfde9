"""Pages of a sorted set: complete, without doubles, newest first, however many entries share a millisecond."""

import base64
from contextlib import suppress
from itertools import pairwise

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.errors import InvalidRequest
from broker.vault.listing import Position, between, decode_cursor, page
from broker.vault.redis.store import Store

members = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(entries=st.dictionaries(members, st.integers(1, 5), min_size=1, max_size=150), count=st.integers(1, 40))
async def test_following_the_cursor_sees_every_entry_once(
    pipeline: Store, raw_store: redis.Redis, entries: dict[str, int], count: int
) -> None:
    """Newest first, ties by their bytes; each page is as long as asked until the last one."""
    raw_store.delete("list")
    raw_store.zadd("list", entries)
    seen: list[Position] = []
    after: Position | None = None
    while found := await page(pipeline, "list", after=after, count=count):
        assert len(found) == min(count, len(entries) - len(seen))
        seen += found
        after = decode_cursor(found[-1].encode())
    expected = sorted(entries.items(), key=lambda entry: (entry[1], entry[0].encode()), reverse=True)
    assert seen == [Position(score, member) for member, score in expected]


async def test_entries_that_come_in_meanwhile_neither_double_nor_hide_others(
    pipeline: Store, raw_store: redis.Redis
) -> None:
    """A page after the cursor shows what is older than it, whatever became of the newer ones or of itself."""
    raw_store.zadd("list", {f"m{n}": n for n in range(10)})
    first = await page(pipeline, "list", after=None, count=3)
    assert [position.member for position in first] == ["m9", "m8", "m7"]
    raw_store.zadd("list", {"newer": 99})
    raw_store.zrem("list", "m7")
    assert [p.member for p in await page(pipeline, "list", after=first[-1], count=3)] == ["m6", "m5", "m4"]


@pytest.mark.parametrize("count", [100, 60, 49])
async def test_hundreds_of_entries_of_one_millisecond_are_paged_through(
    pipeline: Store, raw_store: redis.Redis, count: int
) -> None:
    """A tie longer than what is read at once is no end of the list."""
    raw_store.zadd("list", {f"m{n:04}": 7 for n in range(500)} | {"older": 6})
    after = Position(7, "m0010")
    found = await page(pipeline, "list", after=after, count=count)
    assert [position.member for position in found] == [*(f"m{n:04}" for n in range(9, -1, -1)), "older"]


@given(score=st.integers(0, 2**53), member=st.text(st.characters(codec="utf-8"), max_size=50))
def test_a_cursor_is_url_safe_and_comes_back(score: int, member: str) -> None:
    """Any position survives, colons and all."""
    cursor = Position(score, member).encode()
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert decode_cursor(cursor) == Position(score, member)


def cursor_of(text: str) -> str:
    """A well-encoded cursor with this inside."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "ÿÿÿÿ",
        "AAAA\n",
        "_w",
        cursor_of("no number:m"),
        cursor_of(":m"),
        cursor_of("1.5:m"),
        cursor_of("inf:m"),
        cursor_of("9" * 3000 + ":m"),
        cursor_of(f"{2**63}:m"),
        cursor_of("-1:m"),
        cursor_of("+inf:m"),
        cursor_of("(5:m"),
    ],
)
def test_a_cursor_that_is_none_of_ours_is_refused(cursor: str) -> None:
    """A 400 that names the field and does not repeat the value."""
    with pytest.raises(InvalidRequest) as refused:
        decode_cursor(cursor)
    assert [fault.field for fault in refused.value.faults] == ["cursor"]
    assert cursor not in str(refused.value) or len(cursor) < 4


@given(cursor=st.text(max_size=30))
def test_no_cursor_fails_in_another_way(cursor: str) -> None:
    """Arbitrary text is a position or a 400."""
    with suppress(InvalidRequest):
        assert isinstance(decode_cursor(cursor), Position)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(entries=st.dictionaries(members, st.integers(1, 5), min_size=2, max_size=40))
async def test_a_position_between_two_entries_parts_them(
    pipeline: Store, raw_store: redis.Redis, entries: dict[str, int]
) -> None:
    """Whatever they are called, the page after it begins with the second, and it says no more than it must."""
    raw_store.delete("list")
    raw_store.zadd("list", entries)
    every = await page(pipeline, "list", after=None, count=40)
    for index, (last, following) in enumerate(pairwise(every)):
        cursor = between(last, following)
        assert await page(pipeline, "list", after=decode_cursor(cursor.encode()), count=40) == every[index + 1 :]
        assert last.member.startswith(cursor.member)
        assert len(cursor.member) <= len(following.member) + 1

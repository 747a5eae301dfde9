"""May a store be trusted with tokens: every reason against it, from INFO alone."""

import pytest

from broker.vault.redis.fitness import parse_info, reasons_against

FIT = {
    "loading": "0",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "connected_slaves": "0",
}


def test_a_store_with_aof_and_noeviction_is_fit() -> None:
    """Nothing speaks against it."""
    assert reasons_against(FIT, wait_replicas=0) == []


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl"}, "volatile-ttl"),
        ({"aof_enabled": "0"}, "append-only"),
        ({"aof_last_write_status": "err"}, "can't write"),
        ({"loading": "1"}, "loading"),
        ({"role": "slave"}, "replica"),
    ],
)
def test_each_weakness_is_named(fact: dict[str, str], said: str) -> None:
    """One weakness, one reason that says which."""  # R6
    (reason,) = reasons_against(FIT | fact, wait_replicas=0)
    assert said in reason


def test_all_weaknesses_are_told_at_once() -> None:
    """The operator mends them in one go."""  # R6
    weak = FIT | {"maxmemory_policy": "allkeys-lfu", "aof_enabled": "0"}
    assert len(reasons_against(weak, wait_replicas=0)) == 2


@pytest.mark.parametrize(("asked", "there", "fit"), [(1, 0, False), (1, 1, True), (2, 1, False), (0, 3, False)])
def test_acknowledging_replicas_stand_in_for_the_file(asked: int, there: int, fit: bool) -> None:
    """Without an append-only file only as many replicas as token writes wait for make a store durable."""  # R6
    info = FIT | {"aof_enabled": "0", "connected_slaves": str(there)}
    assert (reasons_against(info, wait_replicas=asked) == []) is fit


def test_silence_about_persistence_counts_against_a_store() -> None:
    """An INFO without the field is not taken for a promise."""  # R6
    assert reasons_against({}, wait_replicas=0)


def test_info_is_parsed_by_its_first_colon() -> None:
    """Sections and blank lines are no fields; values may hold colons and odd bytes."""
    text = b"# Server\r\nexecutable:/a:b\r\n\r\nrole:master\r\nodd:\xff\r\n"
    assert parse_info(text) == {"executable": "/a:b", "role": "master", "odd": "\ufffd"}

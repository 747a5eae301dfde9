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


@pytest.mark.parametrize(
    ("asked", "there", "fit"), [(0, 0, True), (1, 0, False), (1, 1, True), (2, 1, False), (1, 3, True)]
)
def test_as_many_replicas_as_asked_for_must_be_connected(asked: int, there: int, fit: bool) -> None:
    """With fewer the store is not fit, and the reason gives both numbers."""  # R6
    reasons = reasons_against(FIT | {"connected_slaves": str(there)}, wait_replicas=asked)
    assert (reasons == []) is fit
    assert all(f"{there} replicas" in reason and f"asks for {asked}" in reason for reason in reasons)


@pytest.mark.parametrize(("asked", "there"), [(0, 0), (0, 3), (1, 1), (1, 3)])
def test_replicas_never_stand_in_for_the_file(asked: int, there: int) -> None:
    """Without an append-only file tokens can be lost however many replicas there are: all may restart at once."""  # R6
    info = FIT | {"aof_enabled": "0", "connected_slaves": str(there)}
    (reason,) = reasons_against(info, wait_replicas=asked)
    assert "append-only" in reason


def test_silence_about_persistence_counts_against_a_store() -> None:
    """An INFO without the field is not taken for a promise."""  # R6
    assert reasons_against({}, wait_replicas=0)


def test_info_is_parsed_by_its_first_colon() -> None:
    """Sections and blank lines are no fields; values may hold colons and odd bytes."""
    text = b"# Server\r\nexecutable:/a:b\r\n\r\nrole:master\r\nodd:\xff\r\n"
    assert parse_info(text) == {"executable": "/a:b", "role": "master", "odd": "\ufffd"}

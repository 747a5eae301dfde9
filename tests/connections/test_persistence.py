"""Writes that are not given up: repeated while the store is away, and only then."""

import pytest

from broker.connections import persistence
from broker.connections.persistence import until_stored
from broker.errors import Conflict, StoreUnavailable


class Write:
    """A write that fails so often before it succeeds."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self._failures = failures
        self._error = error or StoreUnavailable("away")
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "stored"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat at once."""
    monkeypatch.setattr(persistence, "_PAUSES", (0.0, 0.0))


@pytest.mark.parametrize("failures", [0, 1, 2, 50])
async def test_a_write_is_repeated_until_it_is_stored(failures: int) -> None:
    """However long that takes; once it is confirmed it is not repeated."""  # F1
    write = Write(failures)
    assert await until_stored(write, what="x") == "stored"
    assert write.calls == failures + 1


async def test_a_limited_write_gives_up_with_the_last_error() -> None:
    """While a person waits, patience has an end."""
    write = Write(failures=50)
    with pytest.raises(StoreUnavailable):
        await until_stored(write, what="x", attempts=4)
    assert write.calls == 4


async def test_another_error_is_not_repeated() -> None:
    """Only a store that is away is worth waiting for."""
    write = Write(failures=1, error=Conflict("no"))
    with pytest.raises(Conflict):
        await until_stored(write, what="x")
    assert write.calls == 1

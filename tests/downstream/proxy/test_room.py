"""Bodies that have to be held whole: so many bytes in a worker, and no more."""

import pytest

from broker.downstream.proxy.uploads import Room
from broker.errors import ProviderPaused


def test_who_finds_no_room_is_told_to_come_again() -> None:
    """And room is given back, however what took it ended."""  # S11
    room = Room(10)
    with room.taken(6), room.taken(4), pytest.raises(ProviderPaused) as refused, room.taken(1):
        pytest.fail("there was none")
    assert refused.value.retry_after == 1
    with pytest.raises(ValueError, match="whatever"), room.taken(10):
        raise ValueError("whatever")
    with room.taken(10):
        pass

"""How long to wait before what ended is started again."""

from broker.app.process import Backoff


def test_pauses_double_up_to_a_limit() -> None:
    """What keeps ending at once is started again at 0.1 s, then twice as late each time, at most every 5 s."""
    backoff = Backoff()
    assert [backoff.pause(lived=0.0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_long_life_is_forgiven() -> None:
    """What ran well for a while begins anew with the shortest pause."""
    backoff = Backoff()
    for _ in range(4):
        backoff.pause(lived=0.0)
    assert backoff.pause(lived=60.0) == 0.1
    assert backoff.pause(lived=0.0) == 0.2

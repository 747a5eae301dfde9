"""What the comparisons of fetches say together."""

from bench.fetching import scaling
from tests.bench.samples import comparison


def test_two_workers_are_compared_with_one_side_by_side() -> None:
    """With the cores that each part kept busy, for one request at a time there is nothing to share."""
    one = [comparison([20_000], [30_000], at_once=many) for many in (1, 16)]
    two = [{**comparison([30_000], [36_000], at_once=many), "workers": 2} for many in (1, 16)]
    assert scaling([*one, *two]) == {
        "2 workers against one, 16 at once, floor": "1.50× (workers 0.50, store 0.10, wrk 0.25 cores busy)",
        "2 workers against one, 16 at once, 1 client": "1.20× (workers 0.50, store 0.10, wrk 0.25 cores busy)",
    }
    assert scaling(one) == {}

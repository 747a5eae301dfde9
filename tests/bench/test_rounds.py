"""Medians, ratios and spreads of rounds, and what they say about processes and commands."""

import os
import subprocess
import sys

import pytest

from bench.processes import Commands, Others, busy_seconds, children, cpu_seconds, own_seconds
from bench.rounds import said, summary
from tests.bench.samples import comparison, round_of


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    """A machine that was slow for one round of both sides leaves the ratio as it is."""
    floor = [round_of(requests) for requests in (10_000, 1_000, 12_000)]
    broker = [round_of(requests) for requests in (15_000, 1_500, 12_000)]
    seen = summary(broker, floor)
    assert seen["ratio"] == 1.5
    assert seen["ratio_spread"] == [1.0, 1.5]
    assert seen["requests_per_second"] == 6_000
    assert seen["requests_per_second_spread"] == [750, 7_500]


def test_cpu_and_commands_are_those_of_all_requests() -> None:
    """What was left to do after the load belongs to its requests; how busy each part was is judged during it."""
    seen = summary([round_of(10_000)] * 3, [round_of(10_000)] * 3)
    assert seen["cpu_microseconds"] == {"workers": 100, "store": 20}
    assert seen["store_calls"] == {"scripts": 1, "others": 2}
    assert seen["cores"] == {"workers": [0.5], "store": 0.1, "wrk": 0.25, "provider": 0.05}


def test_every_round_is_kept() -> None:
    """Whoever doubts a median can look."""
    (_, broker) = comparison([1_000, 2_000], [3_000, 4_000])["sides"]
    assert [one["load"]["requests"] for one in broker["rounds"]] == [3_000, 4_000]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"workers": 1, "at_once": 16}, "1 worker, 16 at once"),
        ({"stored": 100_000, "connections": 1}, "100,000 stored, 1 connection"),
    ],
)
def test_a_comparison_is_named_by_its_labels(labels: dict[str, int], words: str) -> None:
    """In words, for who reads."""
    assert said({**labels, "sides": []}) == words


def test_scripts_are_told_from_other_commands() -> None:
    """And counting them is not counted; a command that comes up for the first time is."""
    before = {"cmdstat_evalsha": 10, "cmdstat_hmget": 10, "cmdstat_info": 1}
    after = {"cmdstat_evalsha": 15, "cmdstat_hmget": 12, "cmdstat_info": 2, "cmdstat_xadd": 4, "cmdstat_fcall": 1}
    assert Commands.between(before, after) == Commands(scripts=6, others=6)


def test_what_is_asked_without_any_load_is_left_out() -> None:
    """It would fall on few requests where they are slow."""
    idle = Commands(scripts=0.5, others=100)
    assert Commands(1_000, 2_000).without(idle, 4) == Commands(998, 1_600)
    assert Commands(1, 2).without(idle, 4) == Commands(0, 0)


def test_what_others_take_of_the_machine_is_what_is_not_ours() -> None:
    """In cores: two were busy for ten seconds, and our programs took fifteen seconds of them."""
    clock, busy, own = iter([100.0, 110.0]), iter([1_000.0, 1_020.0]), iter([7.0, 22.0])
    others = Others(lambda: next(busy), lambda: next(own), lambda: next(clock))
    assert others.cores() == 0.5


def test_a_program_that_was_started_and_has_ended_is_ours() -> None:
    """The machine counts its time, too."""
    before = own_seconds(), busy_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    own, busy = own_seconds() - before[0], busy_seconds() - before[1]
    assert own > 0
    # Each core counts in hundredths.
    assert busy >= own - 0.01 * (1 + (os.cpu_count() or 1))


def test_a_process_is_told_from_its_children() -> None:
    """The CPU of each is its own, and a child is found by what its command line holds."""
    with subprocess.Popen([sys.executable, "-c", "input('a child')"], stdin=subprocess.PIPE) as child:
        assert children(os.getpid(), "a child") == [child.pid]
        assert children(os.getpid(), "another") == []
        assert cpu_seconds(os.getpid()) > cpu_seconds(child.pid)
        child.kill()
    with pytest.raises(ProcessLookupError):
        cpu_seconds(child.pid)

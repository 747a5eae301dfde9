"""Names that others chose: looked up in threads of their own, so that a name that hangs holds nobody else up."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import pytest
import uvloop

from broker.errors import NotSent
from broker.upstream.address_guard import AddressGuard
from broker.upstream.name_lookup import NameLookup, system_addresses
from tests.waiting import LoopTime, eventually

DEADLINE = 600.0
"""Seconds: no test gets there but by :class:`LoopTime`."""


class Names:
    """In the place of the system's resolver: names that begin with ``hang`` are answered when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("hang"):
            self.go_on.wait()
        if host.startswith("nowhere"):
            raise OSError
        return ["8.8.8.8"]


@pytest.fixture
def names() -> Iterator[Names]:
    """No thread outlives its test."""
    names = Names()
    yield names
    names.go_on.set()


async def gave_up(lookup: NameLookup[str, Sequence[str]], names: Names, loop_time: LoopTime, *hosts: str) -> None:
    """Nobody gets an answer for these, whose first hangs, until the deadline."""
    asking = [asyncio.create_task(lookup(host)) for host in hosts]
    await asyncio.sleep(0)
    await eventually(lambda: hosts[0] in names.asked)
    loop_time.advance(seconds=DEADLINE)
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(result) for result in results] == [NotSent] * len(hosts)


def test_names_that_hang_leave_the_loops_own_lookups_alone(names: Names) -> None:
    """On uvloop, as workers run: its four threads are those of the operator's hosts, and of the store's."""  # F7

    async def story() -> None:
        lookup = NameLookup(names)
        hanging = [asyncio.create_task(lookup(f"hang-{turn}.test")) for turn in range(16)]
        await eventually(lambda: len(names.asked) == 16)
        found = await asyncio.get_running_loop().getaddrinfo("localhost", 443)
        assert found
        assert await lookup("provider.test") == ["8.8.8.8"]
        assert not any(task.done() for task in hanging)
        names.go_on.set()
        assert await asyncio.gather(*hanging) == [["8.8.8.8"]] * 16

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(story(), 60))


async def test_a_name_is_looked_up_once_for_all_who_ask(names: Names) -> None:
    """Also when the first of them goes away; and again for who asks later."""
    lookup = NameLookup(names)
    asking = [asyncio.create_task(lookup("hang.test")) for _ in range(49)]
    await eventually(lambda: names.asked != [])
    asking[0].cancel()
    names.go_on.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [["8.8.8.8"]] * 48
    assert names.asked == ["hang.test"]
    await lookup("hang.test")
    assert names.asked == ["hang.test"] * 2


async def test_nobody_waits_longer_than_the_deadline(names: Names, loop_time: LoopTime) -> None:
    """The thread may: who asks for the same name joins it, and one name holds one thread whoever asks."""
    lookup = NameLookup(names, deadline=DEADLINE)
    for _ in range(5):
        await gave_up(lookup, names, loop_time, "hang.test", "hang.test")
    assert names.asked == ["hang.test"]


async def test_so_many_names_wait_and_no_more(names: Names) -> None:
    """The next is refused at once; who is in line gets an answer, and so does the next who comes then."""  # F8
    lookup = NameLookup(names, threads=2, waiting=3)
    asking = [asyncio.create_task(lookup(f"hang-{turn}.test")) for turn in range(5)]
    await eventually(lambda: len(names.asked) == 2)
    with pytest.raises(NotSent, match="too many") as refused:
        await lookup("provider.test")
    assert refused.value.retry_after == 1
    assert sorted(names.asked) == ["hang-0.test", "hang-1.test"]
    names.go_on.set()
    assert await asyncio.gather(*asking) == [["8.8.8.8"]] * 5
    assert await lookup("provider.test") == ["8.8.8.8"]


async def test_a_name_that_nobody_waits_for_is_not_looked_up(names: Names, loop_time: LoopTime) -> None:
    """It leaves the line, and others find room there."""
    lookup = NameLookup(names, threads=1, waiting=2, deadline=DEADLINE)
    for turn in range(10):
        await gave_up(lookup, names, loop_time, "hang.test", f"{turn}.test")
    names.go_on.set()
    patient = NameLookup(names)
    await patient("last.test")
    assert names.asked == ["hang.test", "last.test"]


@pytest.mark.parametrize("host", ["nowhere.test", "\N{SNOWMAN}" * 70, "a..b"])
async def test_a_name_that_does_not_resolve_says_so(host: str) -> None:
    """Whatever the resolver makes of it, and for the system's own as for any."""
    lookup = NameLookup[str, Sequence[str]](Names() if host == "nowhere.test" else system_addresses)
    with pytest.raises((OSError, ValueError)):
        await lookup(host)


async def test_the_guard_tells_a_slow_name_from_an_unknown_one(names: Names, loop_time: LoopTime) -> None:
    """Both are nothing sent."""  # P1
    look_up = NameLookup(names, deadline=DEADLINE)
    guard = AddressGuard(resolve=lambda host, _: look_up(host))
    asking = asyncio.create_task(guard.addresses("hang.test", 443))
    await eventually(lambda: names.asked)
    loop_time.advance(seconds=DEADLINE)
    with pytest.raises(NotSent, match="in time"):
        await asking
    with pytest.raises(NotSent, match="does not resolve"):
        await guard.addresses("nowhere.test", 443)


async def test_the_guard_looks_names_up_in_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is told otherwise, as the system does it."""  # F7
    asked = []

    def ask(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append((host, threading.current_thread().name))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    assert await AddressGuard().addresses("provider.test", 443) == [ip_address("8.8.8.8")]
    assert asked == [("provider.test", "name lookup")]


async def test_a_system_without_threads_is_an_outage_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told, and the next lookup works."""

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lookup = NameLookup(Names())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        with pytest.raises(OSError, match="no thread"):
            await lookup("provider.test")
    assert await lookup("provider.test") == ["8.8.8.8"]


_PROGRAM = """
import asyncio, threading
from broker.errors import NotSent
from broker.upstream.name_lookup import NameLookup

async def main():
    try:
        await NameLookup(lambda host: threading.Event().wait(), deadline=0.01)("hang.test")
    except NotSent:
        print("given up", flush=True)

asyncio.run(main())
"""


def test_a_process_ends_although_a_name_hangs() -> None:
    """Nothing waits for its thread."""  # F3
    ended = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "given up\n", "")

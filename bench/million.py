"""A thousand connections, a hundred thousand, a million: what each takes of the store's memory, and what they cost.

Two brokers with one worker each, on stores of their own: one has a thousand connections, the other is filled (see
:mod:`bench.filling`). They are asked for tokens in turn, round by round, so that what the machine does meanwhile
befalls both; of the million, twenty thousand are asked for, so that hardly any was asked for a moment ago.

Memory is what the store says that it uses, less what it used with a single connection, by the number of connections.
Apart from that is the tenant's journal: it is as large as ``BROKER_EVENTS_RETENTION`` lets it be, with one connection,
too. Nothing is due while the CPU of an idle broker is taken.
"""

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import sample
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx2
import redis

from bench import calls, wrk
from bench.filling import fill
from bench.processes import total_cpu
from bench.rounds import Effort
from bench.world import World, world
from broker.vault import names
from broker.vault.redis.embedded import store_for_command

_FEW: Final = 1_000
_SIZES, _QUICK_SIZES = (100_000, 1_000_000), (10_000,)
_ASKED_FOR: Final = 20_000
_AT_ONCE: Final = 16
_WEIGHED: Final = 500
_LONG: Final = 1_000
"""Characters of a long token: providers that put claims into theirs come to about that."""
_IDLE_SECONDS: Final = 5
_TENANT: Final = "default"


@dataclass(frozen=True)
class Weight:
    """What a store of so many connections holds."""

    connections: int
    bytes_per_connection: float
    """Without the journal."""
    kinds: dict[str, float]
    """Of these, by what they are: what the store says of samples. The rest are its own tables."""
    journal_bytes: int


def measure(effort: Effort) -> dict[str, Any]:
    """Answers what each size weighs, and how it compares with a thousand."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        few, many = _Filled(Path(folder) / "few"), _Filled(Path(folder) / "many")
        sizes: list[dict[str, Any]] = [asdict(few.grow(_FEW))]
        beside = stack.enter_context(few.served())
        wanted = _QUICK_SIZES if effort.quick else _SIZES
        for size in wanted:
            weight = many.grow(size)
            with many.loaded() as loading, many.served() as running:
                compared = _compare(few.asked(beside), many.asked(running), effort, more=size == wanted[-1])
                idle = _idle(running, many)
            sizes.append(
                {
                    **asdict(weight),
                    "loading_seconds": loading,
                    "ready_seconds": running.seconds_to_ready,
                    **compared,
                    **idle,
                }
            )
            _tell(sizes[-1])
        largest = sizes[-1]
        stack.close()  # nobody may be at work on a store that is filled
        tokens = few.weigh_tokens()
        return {
            "figures": {**_figures(sizes), **_figures_of_tokens(tokens)},
            "tokens": tokens,
            "bytes_per_connection": largest["bytes_per_connection"],
            "latency_ratio": largest["p50_ratio"],
            "sizes": sizes,
        }


class _Filled:
    """An embedded store with so many connections, and a broker on it where one is wanted."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        with self.served() as running, self._http(running) as http:
            headers = calls.authorization(running, http)
            self._template = calls.connection_of_person(http, headers)
            http.post(f"/v1/connections/{self._template}/token", headers=headers, json={}).raise_for_status()
            # Whoever reads the record of events has it put in order.
            http.get("/v1/events", headers=headers).raise_for_status()
        self._ids: list[str] = []
        with self._store() as store:
            self._empty = _used(store) - _journal(store)

    @contextmanager
    def served(self) -> Iterator[World]:
        """A broker with one worker."""
        with world(BROKER_DATA_DIR=str(self._data_dir)) as running:
            yield running

    @contextmanager
    def _store(self) -> Iterator[redis.Redis]:
        """The store, which is started for as long as it is needed if it isn't there."""
        with store_for_command(self._data_dir) as url, redis.Redis.from_url(url) as store:
            yield store

    def _http(self, running: World) -> httpx2.Client:
        return httpx2.Client(base_url=running.broker_url, trust_env=False, timeout=30)

    def grow(self, size: int) -> Weight:
        """Have so many connections."""
        with self._store() as store:
            self._ids += fill(self._data_dir, self._template, size - len(self._ids))
            journal = _journal(store)
            each = (_used(store) - journal - self._empty) / size
            return Weight(size, round(each, 1), _kinds(store, sample(self._ids, _WEIGHED), size), journal)

    def weigh_tokens(self) -> dict[str, float]:
        """What a record takes with tokens as they are, and with long ones; the rest of a connection is the same."""
        with self._store() as store:
            long = fill(self._data_dir, self._template, _WEIGHED, token_length=_LONG)
            usual, longer = (
                statistics.mean(store.memory_usage(names.record(one), samples=0) or 0 for one in ids)
                for ids in (sample(self._ids, _WEIGHED), long)
            )
        return {"record": round(usual, 1), "record_with_long_tokens": round(longer, 1)}

    @contextmanager
    def loaded(self) -> Iterator[float]:
        """The store, started with what it has; answers after how many seconds it answers."""
        began = time.perf_counter()
        with self._store():
            yield round(time.perf_counter() - began, 2)

    def asked(self, running: World) -> list[bytes]:
        """Requests for the tokens of connections that lie anywhere."""
        with self._http(running) as http:
            headers = calls.authorization(running, http)
        ids = sample(self._ids, min(len(self._ids), _ASKED_FOR))
        return [wrk.request("POST", f"{running.broker_url}/v1/connections/{one}/token", headers, "{}") for one in ids]

    def store_pid(self) -> int:
        """The process of the store."""
        with self._store() as store:
            return int(store.info("server")["process_id"])


def _used(store: redis.Redis) -> int:
    return int(store.info("memory")["used_memory"])


def _journal(store: redis.Redis) -> int:
    return int(store.memory_usage(names.journal(_TENANT), samples=0) or 0)


def _kinds(store: redis.Redis, ids: Sequence[str], size: int) -> dict[str, float]:
    def mean(keys: Sequence[str | bytes]) -> float:
        return statistics.mean(store.memory_usage(key, samples=0) or 0 for key in keys)

    def share(*keys: str) -> float:
        return sum(store.memory_usage(key, samples=_WEIGHED) or 0 for key in keys) / size

    subjects = list(islice(store.scan_iter("broker:subject:*", count=1000), _WEIGHED))
    accounts = [key.decode() for key in islice(store.scan_iter("broker:account:*", count=1000), 1)]
    kinds = {
        "its record": mean([names.record(one) for one in ids]),
        "the list of its subject": mean(subjects),
        "the times of its events": mean([names.connection_journal(one) for one in ids]),
        "its place among what is due": share(*(names.bucket_due(bucket) for bucket in names.buckets())),
        "its place in the tenant's list": share(names.tenant_index(_TENANT)),
        "its place in the list of accounts that nobody knows": share(*accounts),
    }
    return {name: round(held, 1) for name, held in kinds.items()}


def _compare(few: Sequence[bytes], many: Sequence[bytes], effort: Effort, *, more: bool = False) -> dict[str, Any]:
    """Ask both in turn; medians over the rounds, and the median of each round's own ratio.

    :param more: it is this ratio that is judged, so two rounds more.
    """
    loads: list[list[wrk.Load]] = []
    for _ in range(effort.rounds + 2 * more):
        pair = []
        for requests in (few, many):
            for seconds in (1, effort.seconds):
                load = wrk.drive(_url(requests), requests, at_once=_AT_ONCE, seconds=seconds)
            pair.append(load)
        loads.append(pair)
    return {
        "fetches_per_second": [
            round(statistics.median(pair[side].requests_per_second for pair in loads)) for side in (0, 1)
        ],
        "p50": [round(statistics.median(pair[side].p50 for pair in loads), 2) for side in (0, 1)],
        "p99": [round(statistics.median(pair[side].p99 for pair in loads), 2) for side in (0, 1)],
        "p50_ratio": round(statistics.median(many.p50 / few.p50 for few, many in loads), 3),
        "p99_ratio": round(statistics.median(many.p99 / few.p99 for few, many in loads), 3),
    }


def _url(requests: Sequence[bytes]) -> str:
    host = requests[0].partition(b"Host: ")[2].partition(b"\r\n")[0]
    return f"http://{host.decode()}"


def _idle(running: World, filled: _Filled) -> dict[str, Any]:
    """CPU of a minute in which nobody asks and nothing is due."""
    store, workers = filled.store_pid(), running.workers()
    time.sleep(3)
    before = total_cpu(workers), total_cpu([store])
    time.sleep(_IDLE_SECONDS)
    worker, server = total_cpu(workers) - before[0], total_cpu([store]) - before[1]
    per_minute = 60 / _IDLE_SECONDS
    return {"idle_cpu_seconds_per_minute": [round(worker * per_minute, 2), round(server * per_minute, 2)]}


def _figures(sizes: Sequence[dict[str, Any]]) -> dict[str, str]:
    figures = {
        f"of the store's memory for each of {one['connections']:,}": f"{one['bytes_per_connection']:,.0f} bytes"
        for one in sizes
    }
    largest = sizes[-1]
    rest = largest["bytes_per_connection"] - sum(largest["kinds"].values())
    kinds = {**largest["kinds"], "the store's own tables": rest}
    figures |= {f"of these, {name}": f"{held:,.0f} bytes" for name, held in kinds.items()}
    journal = f"{largest['journal_bytes'] / 1e6:,.0f} MB"
    figures["besides, the tenant's journal: two events of each, a million at most"] = journal
    for one in sizes[1:]:
        many = f"{one['connections']:,}"
        (_, speed), (few, p50), (few_p99, p99) = one["fetches_per_second"], one["p50"], one["p99"]
        worker, store = one["idle_cpu_seconds_per_minute"]
        figures |= {
            f"fetches of {many}, {_AT_ONCE} at once": f"{speed:,}/s, p50 {p50} ms, p99 {p99} ms",
            f"p50 against that of {_FEW:,} ({few} ms)": f"{one['p50_ratio']:.2f}×",
            f"p99 against that of {_FEW:,} ({few_p99} ms), not judged": f"{one['p99_ratio']:.2f}×",
            f"CPU of worker and store in a minute with {many}, nothing due": f"{worker:.2f} s, {store:.2f} s",
            f"until the store has loaded {many}": f"{one['loading_seconds']:.1f} s",
            f"then, until the broker on it is ready ({many})": f"{one['ready_seconds']:.2f} s",
        }
    return figures


def _figures_of_tokens(tokens: dict[str, float]) -> dict[str, str]:
    usual, longer = tokens["record"], tokens["record_with_long_tokens"]
    return {
        "a record with the practice provider's access and refresh token, as above": f"{usual:,.0f} bytes",
        f"the same with {_LONG:,} characters each": f"{longer:,.0f} bytes",
    }


def _tell(size: dict[str, Any]) -> None:
    each = f"{size['bytes_per_connection']:,.0f} bytes each, p50 ×{size['p50_ratio']}"
    print(f"{size['connections']:,} connections: {each}", file=sys.stderr)

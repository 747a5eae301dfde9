"""Store servers with options of their own, for what the embedded one never does: alone, replicated, led by sentinels,
as a Cluster. All of them listen on loopback, can be killed and stopped, and end with their test.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis

from broker.vault.redis.server import find_program
from tests.processes import free_port
from tests.vault.server_process import SERVICE, Start, TestServer, servers
from tests.waiting import until

SLOTS = 16_384
_BUS = 1
"""How far a Cluster node's bus is from its port."""


@dataclass(frozen=True)
class Group:
    """Servers that belong together."""

    url: str
    """As ``BROKER_REDIS_URL`` names them."""
    nodes: list[TestServer]
    """Those that hold data."""
    replicas: list[TestServer]
    sentinels: list[TestServer]

    @property
    def primary(self) -> TestServer:
        """The one that is a primary, of a group that has one."""
        return next(node for node in self.nodes if node.process.poll() is None and node.info()["role"] == "master")

    def node_of(self, key: str) -> TestServer:
        """The primary of ``key``'s slot, in a Cluster."""
        with next(node for node in self.nodes if node.process.poll() is None).client() as client:
            slot = client.cluster("KEYSLOT", key)
            for first, last, (_, port, *_), *_ in cast("list[Any]", client.execute_command("CLUSTER", "SLOTS")):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == port)
        raise LookupError(key)

    def flush(self) -> None:
        """Empty all of them."""
        for node in self.nodes:
            with node.client() as client:
                if client.info()["role"] == "master":
                    client.flushall()


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[str]:
    """A server with these options (``--appendonly yes``, …); yields the URL of its unix socket."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        path = Path(folder) / "socket"
        command = [find_program(), "--port", str(port), "--unixsocket", str(path), "--dir", folder, "--save", ""]
        with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                _await(path, process)
                yield f"unix://{path}"
            finally:
                process.kill()


@contextmanager
def cluster_node() -> Iterator[str]:
    """A Cluster of one node that has every slot; yields the URL of its unix socket."""
    port = free_port(neighbours=_BUS)
    options = (
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        str(port + _BUS),
        "--bind",
        "127.0.0.1",
        "--appendonly",
        "yes",
    )
    with valkey(*options, port=port) as url, redis.Redis.from_url(url) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        until(lambda: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield url


@contextmanager
def replicated(replicas: int = 1) -> Iterator[Group]:
    """A primary and its replicas, all in step; the URL is the primary's."""
    with servers() as start:
        primary = start()
        followers = [start("--replicaof", f"127.0.0.1 {primary.port}") for _ in range(replicas)]
        for follower in followers:
            in_step(follower)
        yield Group(primary.url, [primary, *followers], followers, [])


@contextmanager
def sentinel_group(sentinels: int = 3) -> Iterator[Group]:
    """A primary with a replica, in step, and sentinels that agree and give a primary half a second."""
    with servers() as start, replicated() as pair:
        watchers = [start("--appendonly", "no", sentinel_of=pair.primary) for _ in range(sentinels)]
        for watcher in watchers:
            with watcher.client() as client:
                until(lambda client=client: _knows(client, others=sentinels - 1))  # type: ignore[misc]
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        yield Group(f"redis+sentinel://{hosts}/{SERVICE}", pair.nodes, pair.replicas, watchers)


@contextmanager
def three_node_cluster(replicas: int = 0) -> Iterator[Group]:
    """A Cluster of three primaries, each with so many replicas. A lost node takes no other's slots with it."""
    with servers() as start:
        nodes = [_cluster_server(start) for _ in range(3 * (1 + replicas))]
        primaries, followers = nodes[:3], nodes[3:]
        share = SLOTS // 3 + 1
        for position, node in enumerate(primaries):
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", position + 1)
                last = min(SLOTS, (position + 1) * share) - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", position * share, last)
        join(nodes)
        for position, follower in enumerate(followers):
            with follower.client() as client, primaries[position % 3].client() as primary:
                client.execute_command("CLUSTER", "REPLICATE", primary.execute_command("CLUSTER", "MYID"))
        for follower in followers:
            in_step(follower)
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in primaries)
        yield Group(f"redis+cluster://{hosts}", nodes, followers, [])


@contextmanager
def spare_cluster_node(group: Group) -> Iterator[TestServer]:
    """One more node that joins a Cluster and has no slots yet."""
    with servers() as start:
        node = _cluster_server(start)
        join([*group.nodes, node])
        group.nodes.append(node)
        try:
            yield node
        finally:
            group.nodes.remove(node)


def join(nodes: list[TestServer]) -> None:
    """Let these nodes meet, until each knows all and finds the Cluster well."""
    for node in nodes[1:]:
        with nodes[0].client() as client:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.port + _BUS)
    for node in nodes:
        with node.client() as client:
            until(lambda client=client: _is_whole(client, len(nodes)))  # type: ignore[misc]


def whole(nodes: list[TestServer]) -> None:
    """Return when each of these nodes finds the Cluster well and none of its slots lost."""
    for node in nodes:
        with node.client() as client:
            until(lambda client=client: _is_well(client))  # type: ignore[misc]


def in_step(replica: TestServer) -> None:
    """Return when ``replica`` has all that its primary has sent so far."""
    until(lambda: replica.info().get("master_link_status") == "up")


def _cluster_server(start: Start) -> TestServer:
    port = free_port(neighbours=_BUS)
    bus = ("--cluster-port", str(port + _BUS))
    lost = ("--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no")
    # A primary without slots stays one.
    stays = ("--cluster-allow-replica-migration", "no")
    return start("--cluster-enabled", "yes", *bus, *lost, *stays, port=port)


def _knows(sentinel: redis.Redis, *, others: int) -> bool:
    facts = cast("dict[str, Any]", sentinel.sentinel_master(SERVICE))
    return (facts["num-slaves"], facts["num-other-sentinels"]) == (1, others)


def _is_whole(node: redis.Redis, nodes: int) -> bool:
    return _is_well(node) and _facts(node)["cluster_known_nodes"] == str(nodes)


def _is_well(node: redis.Redis) -> bool:
    facts = _facts(node)
    lost = int(facts["cluster_slots_pfail"]) + int(facts["cluster_slots_fail"])
    return facts["cluster_state"] == "ok" and not lost


def _facts(node: redis.Redis) -> dict[str, str]:
    return cast("dict[str, str]", cast("Any", node).execute_command("CLUSTER INFO"))


def _await(path: Path, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with redis.Redis(unix_socket_path=str(path)) as client:
                client.ping()
        except redis.ConnectionError:
            time.sleep(0.005)
        else:
            return
    raise RuntimeError(f"the server ended with status {process.returncode}")

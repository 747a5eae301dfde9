"""wrk, which loads a server from one thread in C: as many HTTP connections as are wanted, each asking again at once.

It is told what to send by ``requests.lua``: raw requests, made before, in turn. So the choice among two hundred clients
and a thousand connections costs it no more than a single request would, and a round is the same for floor and broker.

Its latencies are those of a closed loop: a server that stalls is asked less meanwhile, so a stall counts once per
connection. Nothing here hides an answer that was no success: see :class:`RoundFailed`.
"""

import json
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final
from urllib.parse import urlsplit

_SCRIPT: Final = Path(__file__).with_name("requests.lua")
_PATIENCE: Final = 10
"""Seconds until an answer is given up, and until wrk is once its time is over."""


class WrkMissing(Exception):
    """wrk is not installed."""

    def __init__(self) -> None:
        super().__init__("wrk is needed to measure, and isn't here; on Debian and Ubuntu: apt-get install wrk")


class RoundFailed(Exception):
    """Some answers were no success, or did not come, or a command failed; the message says how many, which, and why."""


@dataclass(frozen=True)
class Load:
    """What one round saw; latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    p999: float
    longest: float
    cpu_seconds: float
    """What wrk itself needed of a core: near ``seconds``, it is what limits."""

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


def require_wrk() -> str:
    """Where wrk is.

    :raises WrkMissing: nowhere.
    """
    path = shutil.which("wrk")
    if path is None:
        raise WrkMissing
    return path


def request(method: str, url: str, headers: Mapping[str, str], body: str | bytes | None = None) -> bytes:
    """A request as it goes over the wire, to be sent again and again on an open connection.

    :param body: of a JSON request, unless ``headers`` name another content type.
    """
    address = urlsplit(url)
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    lines = {"Host": address.netloc, **headers}
    content = body.encode() if isinstance(body, str) else body
    if content is not None:
        lines = {"Content-Type": "application/json", **lines, "Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (content or b"")


def drive(url: str, requests: Sequence[bytes], *, at_once: int, seconds: int) -> Load:
    """Send ``requests`` in turn over so many HTTP connections, for so long.

    :param url: where the server is; what is asked stands in the requests.
    :raises RoundFailed: an answer was 400 or above, a connection broke, or an answer took ten seconds.
    :raises WrkMissing: there is no wrk here.
    """
    seen, cpu = _run(url, requests, at_once=at_once, seconds=seconds)
    if any(seen[fault] for fault in ("refused", "broken", "timed_out")) or not seen["requests"]:
        raise RoundFailed(_fault(url, requests, at_once, seen))
    latency = {name: value / 1000 for name, value in seen["latency"].items()}
    return Load(
        requests=seen["requests"],
        seconds=seen["microseconds"] / 1e6,
        p50=latency["p50"],
        p90=latency["p90"],
        p99=latency["p99"],
        p999=latency["p99.9"],
        longest=latency["max"],
        cpu_seconds=cpu,
    )


def parse(output: str) -> dict[str, Any]:
    """What ``requests.lua`` wrote at the end of wrk's output.

    :raises RoundFailed: it is not there; wrk says why on its own.
    """
    last = output.strip().rpartition("\n")[2]
    try:
        seen = json.loads(last)
    except ValueError:
        seen = None
    if not isinstance(seen, dict):
        raise RoundFailed(f"wrk did not say what it saw, but: {last[:200]}")
    return seen


def _run(
    url: str, requests: Sequence[bytes], *, at_once: int, seconds: int, statuses: bool = False
) -> tuple[dict[str, Any], float]:
    """What was seen, and the seconds of a core it took."""
    wrk = require_wrk()
    with NamedTemporaryFile() as file:
        file.writelines(b"%d\n%b" % (len(one), one) for one in requests)
        file.flush()
        before = _children()
        options = ["-t1", f"-c{at_once}", f"-d{seconds}s", f"--timeout={_PATIENCE}s", "-s", str(_SCRIPT), url]
        ended = subprocess.run(
            [wrk, *options, "--", file.name, *(["statuses"] if statuses else [])],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 2 * _PATIENCE,
        )
        cpu = _children() - before
    return parse(ended.stdout if ended.returncode == 0 else ended.stderr or ended.stdout), cpu


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _fault(url: str, requests: Sequence[bytes], at_once: int, seen: Mapping[str, Any]) -> str:
    """What went wrong in a round; the statuses out of a second one, for counting them would spoil the first."""
    said = (
        f"of {seen['requests']} requests {seen['refused']} were refused, {seen['timed_out']} took more than "
        f"{_PATIENCE} s; {seen['broken']} connections broke"
    )
    again, _ = _run(url, requests, at_once=at_once, seconds=1, statuses=True)
    statuses = ", ".join(f"{count} times {status}" for status, count in sorted(again["statuses"].items()))
    return f"{said}. Asked again for a second: {statuses or 'no answer'}"

"""Does the time that a refusal takes tell whether there is such a client?

Two questions, each asked a thousand times in each of two ways (a hundred with ``quick``), in one random order:

* ``secret`` – a client that exists, with a wrong secret; and a client_id that nobody has.
* ``assertion`` – a client that exists, with an assertion that another key has signed; and a client_id that nobody has,
  in an assertion by the same key.

All go to ``POST /oauth/token`` of one ``broker serve`` with one worker and its embedded store, one after the other on
one connection that stays open. Failures are limited to 120 a minute by address and 600 by client. So the broker takes
this machine for a proxy, as it would a load balancer (``BROKER_TRUSTED_PROXIES``), the requests name forty addresses in
turn, and there are four ids of each kind, so that the counters of both have as much to count.

Before each refusal one of those who exist proves itself, in turn. So the broker remembers all of them while it refuses,
as it does while they are in use; whether that shows is what is asked.

``auc`` is the probability that a refusal of somebody who exists takes longer than one of nobody (Mann–Whitney U / n²):
0.5 says that nothing can be told, 1 or 0 that a single request tells all. ``by_chance`` is the same of every other
request of one kind and the rest of them: how far from 0.5 a machine gets with nothing to tell.
"""

import json
import random
import secrets
import socket
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from bench.rounds import Effort
from bench.world import World, world
from broker.models.ids import new_id

_MANY, _QUICK = 1000, 100
_IDS: Final = 4
_ADDRESSES: Final = 40
_WARM_UP: Final = 100
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Form = Callable[[str], dict[str, str]]
"""What a request presents for a client_id."""


def measure(effort: Effort) -> dict[str, Any]:
    """Answers both questions; times in milliseconds."""
    with world(BROKER_TRUSTED_PROXIES="127.0.0.0/8") as running:
        report = _measure(running, _QUICK if effort.quick else _MANY)
    figures = {}
    for question, found in report.items():
        somebody, nobody = found["somebody"]["median"], found["nobody"]["median"]
        figures[f"refused {question}: median for somebody, for nobody"] = f"{somebody} ms, {nobody} ms"
        figures[f"refused {question}: auc, and by chance"] = f"{found['auc']}, {found['by_chance']}"
    return {"figures": figures, **report}


def _measure(running: World, many: int) -> dict[str, Any]:
    key, other = (ECKey.generate_key("P-256", {"kid": "one"}) for _ in range(2))
    with TemporaryDirectory() as folder:
        jwks = Path(folder) / "jwks.json"
        jwks.write_text(json.dumps(key.as_dict(private=False)))
        registered = [running.register("bench") for _ in range(_IDS)]
        with_secret = {one["client_id"]: one["client_secret"] for one in registered}
        with_key = [running.register("bench", "--jwks-file", str(jwks))["client_id"] for _ in range(_IDS)]

    def secret(client_id: str) -> dict[str, str]:
        return {"client_id": client_id, "client_secret": secrets.token_urlsafe(32)}

    def own_secret(client_id: str) -> dict[str, str]:
        return {"client_id": client_id, "client_secret": with_secret[client_id]}

    def assertion(client_id: str, signed_by: ECKey = other) -> dict[str, str]:
        now = int(time.time())
        issuer = f"http://localhost:{running.environment['BROKER_PORT']}"
        claims = {"iss": client_id, "sub": client_id, "aud": issuer, "exp": now + 60, "jti": new_id("jti")}
        signed = jwt.encode({"alg": "ES256", "kid": "one"}, claims, signed_by)
        return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": signed}

    return {
        # Addresses of its own for each question: together they would fail too often.
        "secret": _ask(running, [*with_secret], secret, own_secret, many, network="198.51.100"),
        "assertion": _ask(running, with_key, assertion, partial(assertion, signed_by=key), many, network="203.0.113"),
    }


def _ask(
    running: World, somebody: Sequence[str], form: Form, proof: Form, many: int, *, network: str
) -> dict[str, Any]:
    """So many of each kind, in one random order; ``proof`` is what somebody presents who is let in."""
    nobody = [new_id("cl") for _ in range(_IDS)]
    turns = [(kind, number) for kind in ("somebody", "nobody") for number in range(many)]
    random.shuffle(turns)
    took: dict[str, list[float]] = {"somebody": [], "nobody": []}
    wire = _Wire(running.broker_url)
    for turn in range(_WARM_UP):
        wire.seconds(form([*somebody, *nobody][turn % (2 * _IDS)]), f"192.0.2.{turn % _ADDRESSES}", status=401)
    for turn, (kind, number) in enumerate(turns):
        ids = somebody if kind == "somebody" else nobody
        address = f"{network}.{turn % _ADDRESSES}"
        wire.seconds(proof(somebody[turn % _IDS]), address, status=200)
        took[kind].append(wire.seconds(form(ids[number % _IDS]), address, status=401))
    wire.close()
    return {
        "of_each": many,
        "somebody": _figures(took["somebody"]),
        "nobody": _figures(took["nobody"]),
        "auc": _auc(took["somebody"], took["nobody"]),
        "by_chance": _auc(took["nobody"][::2], took["nobody"][1::2]),
    }


class _Wire:
    """One connection; a client library would take longer than what is measured."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host = address.netloc
        self._socket = socket.create_connection((address.hostname, address.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def seconds(self, form: dict[str, str], address: str, *, status: int) -> float:
        """How long it took until the whole answer was there.

        :raises RuntimeError: it has another status.
        """
        body = urlencode({"grant_type": "client_credentials", **form}).encode()
        head = (
            f"POST /oauth/token HTTP/1.1\r\nHost: {self._host}\r\nX-Forwarded-For: {address}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        self._socket.sendall(head.encode() + body)
        answered, length = self._stream.readline(), 0
        while (line := self._stream.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self._stream.read(length)
        took = time.perf_counter() - began
        if answered.split()[1] != str(status).encode():
            raise RuntimeError(f"{status} was expected, and the answer was {answered.strip()!r}")
        return took

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()


def _figures(seconds: Sequence[float]) -> dict[str, float]:
    in_order = sorted(seconds)
    nearest = {f"p{part}": in_order[len(in_order) * part // 100] for part in (90, 99)}
    return {name: round(value * 1000, 3) for name, value in {"median": statistics.median(in_order), **nearest}.items()}


def _auc(ones: Sequence[float], others: Sequence[float]) -> float:
    """The probability that one of ``ones`` is the greater (Mann and Whitney, 1947); equal ones count half."""
    in_order = sorted(others)
    wins = sum((bisect_left(in_order, one) + bisect_right(in_order, one)) / 2 for one in ones)
    return round(wins / (len(ones) * len(others)), 3)

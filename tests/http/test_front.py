"""Around every request: its id, the caller's address, one log line without the path, metrics."""

import json
from io import StringIO
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from broker.http.address import client_address
from broker.http.front import Front
from broker.observe import metrics
from tests.http.last_resort import Plain

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def a_request(peer: str | None, *forwarded: str) -> Request:
    """A request from ``peer`` with these ``X-Forwarded-For`` headers."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return Request({"type": "http", "client": (peer, 1234) if peer else None, "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # Somebody who is no proxy of ours says nothing about addresses.
        ("198.51.100.9", ["203.0.113.5"], "198.51.100.9"),
        ("198.51.100.9", [], "198.51.100.9"),
        # The last address that no proxy of ours vouches for; what stands before it anybody could have written.
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["127.0.0.1, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["127.0.0.1", "203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5,10.0.0.3", "10.0.0.2"], "203.0.113.5"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        # With the port, as some proxies say it; an IPv4 address in the clothes of an IPv6 one.
        ("10.0.0.1", ["203.0.113.5:51234"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5:51234, 10.0.0.2:443"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ["203.0.113.5, [fd00::2], [2001:db8::7], [fd00::1]:443"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.5, ::ffff:10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", ["::ffff:203.0.113.5"], "203.0.113.5"),
        # Only proxies of ours, or none who said anything.
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        # No address at all.
        ("10.0.0.1", ["203.0.113.5, garbage"], "unknown"),
        ("10.0.0.1", ["203.0.113.5:"], "unknown"),
        ("10.0.0.1", ["203.0.113.5:443:443"], "unknown"),
        ("10.0.0.1", ["[203.0.113.5"], "unknown"),
        ("10.0.0.1", ["203.0.113.5, []:443"], "unknown"),
        (None, ["203.0.113.5"], "unknown"),
    ],
)
def test_the_address_is_the_last_one_that_no_trusted_proxy_vouches_for(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    """A caller can't choose the address that its failures are counted under."""  # S8
    assert client_address(a_request(peer, *forwarded), PROXIES) == address


@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1"])
def test_without_trusted_proxies_the_header_is_ignored(peer: str) -> None:
    """The default: anybody can write it."""
    assert client_address(a_request(peer, "203.0.113.5"), []) == peer


async def _whoami(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.state.request_id} {request.state.address}")


async def _fails(_request: Request) -> PlainTextResponse:
    raise ValueError("planted")


@pytest.fixture
def caller() -> httpx2.AsyncClient:
    """A caller behind a trusted proxy of an app with three routes."""
    routes = [Route(path, _whoami) for path in ("/livez", "/connect/{handle}")]
    app = Front([*routes, Route("/fails", _fails)], last_resort=Plain(), trusted_proxies=PROXIES)
    transport = httpx2.ASGITransport(app, client=("10.0.0.1", 1))
    return httpx2.AsyncClient(transport=transport, base_url="http://broker.test")


def lines(logged: StringIO) -> list[dict[str, Any]]:
    """What was logged of requests."""
    return [line for line in map(json.loads, logged.getvalue().splitlines()) if line["logger"] == "broker.request"]


async def test_a_request_has_an_id_of_the_brokers_own(caller: httpx2.AsyncClient) -> None:
    """The answer carries the id that the handler saw; what the caller calls itself is not taken over."""
    answers = [await caller.get("/connect/x", headers={"X-Request-Id": "mine"}) for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [answer.text.split()[0] for answer in answers] == ids
    assert ids[0] != ids[1]
    assert "mine" not in ids


async def test_a_line_names_the_route_and_never_the_path(caller: httpx2.AsyncClient, logged: StringIO) -> None:
    """Paths of connect links are secrets, and so may be what stands in a query."""  # K1
    answer = await caller.get("/connect/planted-handle?code=planted", headers={"X-Forwarded-For": "203.0.113.5"})
    await caller.get("/planted/nowhere")
    assert "planted" not in logged.getvalue()
    first, second = lines(logged)
    assert first["request_id"] == answer.headers["x-request-id"]
    assert (first["route"], first["method"], first["status"]) == ("/connect/{handle}", "GET", 200)
    assert first["address"] == "203.0.113.5"
    assert (second["route"], second["status"]) == ("unmatched", 404)


async def test_what_went_wrong_is_louder_than_what_went_well(caller: httpx2.AsyncClient, logged: StringIO) -> None:
    """200 at DEBUG, 404 at INFO, our own mistakes at WARNING."""
    for path in ("/connect/x", "/nowhere", "/fails"):
        await caller.get(path)
    assert [line["level"] for line in lines(logged)] == ["debug", "info", "warning"]


async def test_probes_leave_no_line(caller: httpx2.AsyncClient, logged: StringIO) -> None:
    """They come every few seconds and say nothing."""
    await caller.get("/livez")
    assert lines(logged) == []


async def test_requests_are_counted_by_route(caller: httpx2.AsyncClient) -> None:
    """A thousand links are one route, and a thousand addresses that lead nowhere are one, too."""
    for i in range(5):
        await caller.get(f"/connect/planted-{i}")
        await caller.get(f"/planted/{i}")
    exposed = metrics.exposition().decode()
    assert "planted" not in exposed
    assert 'broker_requests_total{route="/connect/{handle}",status="200"}' in exposed
    assert 'broker_requests_total{route="unmatched",status="404"}' in exposed

"""What passes of headers: everything but what belongs to one side alone."""

import pytest

from tests.downstream.proxy.caller import ProxyCaller
from tests.upstream.practice_server import PracticeServer, raw_answer

OURS = (
    "Cookie: a=b", "Cookie2: $Version=1", "TE: trailers", "Trailer: X-T", "Keep-Alive: timeout=9", "Upgrade: websocket",
    "Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "Proxy-Anything: 1", "Forwarded: for=192.0.2.1",
    "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: elsewhere.example", "X_Forwarded_Proto: http", "X-Real-IP: 1",
    "X_Real_IP: 192.0.2.1", "Via: 1.1 hop", "X-Client-IP: 192.0.2.1", "True-Client-IP: ::1", "HTTP2-Settings: A",
    "CF-Connecting-IP: 192.0.2.1", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin", "X-Rewrite-URL: /admin",
    "Connection: X-Named, close", "X-Named: 1",
)  # fmt: skip
THEIRS = (
    "X-Mine: 1", "Idempotency-Key: k1", "Content-Type: text/x", "Range: bytes=0-1", "If-None-Match: x", "Origin: https://a",
    "User-Agent: mine", "Accept-Encoding: gzip", "traceparent: 00-1", "X-Empty:", "X-Odd: a\tb  c;d=\"e\"",
)  # fmt: skip


def sent(headers: tuple[str, ...]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in headers)}


async def test_what_belongs_to_the_callers_side_stays_there(caller: ProxyCaller, rough: PracticeServer) -> None:
    """Hop-by-hop headers, Host, the broker token, cookies, who else asked, and ways to say another request."""  # G2
    status, said = await caller.write(f"GET /proxy/{await caller.connect()}/a HTTP/1.1", *OURS, *THEIRS)
    assert status == 404, said
    (asked,) = rough.asked
    own = {"host": f"127.0.0.1:{rough.port}", "x-version": "7", "accept": "application/json"}
    assert {name: value for name, value in asked.headers.items() if name != "connection"} == {**sent(THEIRS), **own}
    assert asked.headers["connection"] in {"keep-alive", "close"}
    assert caller.authorization not in repr(asked)


async def test_an_upgrade_is_a_plain_request(caller: ProxyCaller, rough: PracticeServer) -> None:
    """What the provider might switch to is not passed on, nor is what is sent after it."""  # G2
    headers = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    status, _ = await caller.write(f"GET /proxy/{await caller.connect()}/a HTTP/1.1", *headers, body=b"\x81\x05hello")
    assert status == 404
    (asked,) = rough.asked
    assert "upgrade" not in repr(asked).lower()
    assert asked.body == b""


async def test_the_entrys_headers_give_way_to_the_callers(caller: ProxyCaller, rough: PracticeServer) -> None:
    """``api.headers`` are what the operator wants where nobody says anything."""
    connection = await caller.connect()
    for given, seen in (({}, "7"), ({"X-Version": "8"}, "8"), ({"x-VERSION": ""}, "")):
        await caller.http.get(f"/proxy/{connection}/a", headers=given)
        assert rough.asked[-1].headers["x-version"] == seen


async def test_without_a_wish_the_answer_comes_as_it_is(caller: ProxyCaller, rough: PracticeServer) -> None:
    """No coding is asked for that the caller might not know."""
    await caller.write(f"GET /proxy/{await caller.connect()}/a HTTP/1.1")
    assert rough.asked[0].headers["accept-encoding"] == "identity"
    assert rough.asked[0].headers["user-agent"] == "oauth-broker"


@pytest.mark.parametrize("name", ["X-Api-Key", "x-api-key", "X_Api_Key", "X-API_KEY"])
async def test_a_key_in_a_header_wins_over_the_callers(caller: ProxyCaller, rough: PracticeServer, name: str) -> None:
    """However it is spelt: some servers can't tell an underscore from a hyphen."""
    connection = await caller.connect("rough-header", api_key="the-connections-own")
    await caller.write(f"GET /proxy/{connection}/a HTTP/1.1", f"{name}: mine", f"{name}: mine-too")
    assert "mine" not in repr(rough.asked)
    assert rough.asked[0].headers["x-api-key"] == "the-connections-own"


async def test_a_key_in_the_query_wins_over_the_callers(caller: ProxyCaller, rough: PracticeServer) -> None:
    """In whatever case and coding; what else is in the query stays as it is, in its place."""
    connection = await caller.connect("rough-query", api_key="the connection's &=")
    query = "a=%20+1&Key=mine&key=mine&%4Bey=mine&K%65y&b;Key=mine&c"
    await caller.write(f"GET /proxy/{connection}/a?{query} HTTP/1.1")
    assert rough.asked[0].target == "/base/a?a=%20+1&c&Key=the%20connection%27s%20%26%3D"


async def test_a_header_that_cant_be_sent_is_refused(caller: ProxyCaller, rough: PracticeServer) -> None:
    """400, naming the header and not its value."""
    status, said = await caller.write(f"GET /proxy/{await caller.connect()}/a HTTP/1.1", "X-Mine: caf\xe9")
    assert status == 400
    assert b"x-mine" in said
    assert b"caf" not in said
    assert rough.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: gzip",),
        ("Content-Length: -1",),
        ("Content-Length: 1_0",),
    ],
)
async def test_a_body_that_can_be_framed_in_two_ways_goes_nowhere(
    caller: ProxyCaller, rough: PracticeServer, headers: tuple[str, ...]
) -> None:
    """Or the rest of it would be the next request of somebody else (RFC 9112 §11.2)."""  # G2
    line = f"POST /proxy/{await caller.connect()}/a HTTP/1.1"
    status, said = await caller.write(line, *headers, body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status in {0, 400, 501}, said
    assert rough.asked == []


async def test_hostile_headers_are_not_passed_back(caller: ProxyCaller, connection: dict[str, str]) -> None:
    """Nothing that a browser would hold for the broker's own."""  # G2
    status, said = await caller.write(f"GET /proxy/{connection['id']}/streams/hostile HTTP/1.1")
    lines = said.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    told = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    assert status == 200
    names = {name for name, _ in told}
    assert names == {
        "date", "content-type", "content-length", "connection", "x-kept", "content-security-policy",
        "x-content-type-options", "broker-connection", "x-request-id",
    }  # fmt: skip
    assert len(told) == len(names)
    assert {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}.items() <= dict(told).items()
    assert dict(told)["broker-connection"] == connection["id"]
    assert dict(told)["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        ("/x?y", "{rough}/x?y"),
        ("x", "{rough}/base/x"),
        ("?page=2", "{rough}/base/a?page=2"),
        ("http://127.0.0.1:{port}/v1/clients", None),
        ("//127.0.0.1:{port}/v1/clients", None),
        ("http:\\\\127.0.0.1:{port}/v1/clients", "{rough}/base/\\\\127.0.0.1:{port}/v1/clients"),
        ("http://LOCALHOST:8400/v1/clients", None),
        ("http://user@localhost:8400/v1/clients", None),
        ("http://[/", None),
        ("http://%6cocalhost:{port}/v1/clients", None),
        ("http://127.1:{port}/v1/clients", None),
        ("http://0x7f000001:{port}/v1/clients", None),
    ],
)
async def test_a_redirect_is_returned_and_not_followed(
    caller: ProxyCaller, rough: PracticeServer, location: str, told: str | None
) -> None:
    """With an address that leads where the provider meant, and never to the broker: callers have tokens there."""  # G3
    said = location.format(port=caller.port)
    rough.answers["/base/a"] = raw_answer(307, headers={"location": said})
    answer = await caller.http.post(f"/proxy/{await caller.connect()}/a", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers.get("location") == (told and told.format(rough=rough.origin, port=caller.port))
    assert len(rough.asked) == 1


async def test_the_key_is_not_told_in_addresses(caller: ProxyCaller, rough: PracticeServer) -> None:
    """Providers repeat the query in redirects and links to other pages."""  # K1
    connection = await caller.connect("rough-query", api_key="secret key/1")
    headers = {
        "location": "/base/a/?Key=secret%20key%2F1&x=1",
        "link": '<https://x.example/?x=1&Key=secret+key%2F1>; rel="next"',
    }
    rough.answers["/base/a"] = raw_answer(301, headers=headers)
    answer = await caller.http.get(f"/proxy/{connection}/a?x=1", follow_redirects=False)
    assert answer.headers["location"] == f"{rough.origin}/base/a/?Key=&x=1"
    assert answer.headers["link"] == '<https://x.example/?x=1&Key=>; rel="next"'


async def test_the_key_is_not_told_in_headers(caller: ProxyCaller, rough: PracticeServer) -> None:
    """However it is spelt: a header that repeats it is left out."""  # K1
    connection = await caller.connect("rough-query", api_key="secret key/1")
    headers = {"x-saw": "secret%20key%2f1", "x-seen": "SECRET KEY/1", "x-kept": "1"}
    rough.answers["/base/a"] = raw_answer(200, headers=headers)
    answer = await caller.http.get(f"/proxy/{connection}/a")
    assert {"x-saw", "x-seen"}.isdisjoint(answer.headers)
    assert answer.headers["x-kept"] == "1"


async def test_nothing_is_told_to_what_stands_in_front(caller: ProxyCaller, rough: PracticeServer) -> None:
    """A reverse proxy takes no orders from a provider, and a shared cache answers nobody else with the answer."""  # G2
    headers = {
        "x-accel-redirect": "/internal", "x-sendfile": "/etc/passwd", "surrogate-control": "max-age=9",
        "cdn-cache-control": "public", "cache-control": "public, s-maxage=60, max-age=5",
    }  # fmt: skip
    rough.answers["/base/a"] = raw_answer(200, headers=headers)
    answer = await caller.http.get(f"/proxy/{await caller.connect()}/a")
    assert headers.keys() & answer.headers.keys() == {"cache-control"}
    assert answer.headers["cache-control"] == "private, max-age=5"

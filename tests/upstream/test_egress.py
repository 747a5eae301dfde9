"""The way out: deadline, cap, redirects, cookies, environment; and what a failure means."""

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from broker.errors import AddressRefused, InvalidRequest, NotSent, OutcomeUnknown
from broker.upstream.egress import MAX_BODY, Egress, OutboundRequest
from tests.upstream.practice_server import Asked, Handler, PracticeServer, practice_server, raw_answer
from tests.upstream.tls import contexts_for
from tests.waiting import LoopTime, eventually

NEVER = 60.0
"""A deadline that a passing test doesn't reach."""


async def silence(_: Asked, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def trickle(_: Asked, writer: asyncio.StreamWriter) -> None:
    """Never quiet for long, and never done."""
    writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def test_what_is_sent_and_what_comes_back(server: PracticeServer, egress: Egress) -> None:
    """Method, path, headers and content arrive as given; the answer is handed back whole."""
    server.answers["/token"] = raw_answer(201, b"body", {"X-Answer": "yes"})
    request = OutboundRequest("POST", f"{server.origin}/token?a=b", {"x-asked": "1"}, b"content")
    answer = await egress.send(request, deadline=NEVER, trusted=True)
    assert (answer.status, answer.headers["x-answer"], answer.body) == (201, "yes", b"body")
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/token?a=b", b"content")
    assert asked.headers["x-asked"] == "1"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("misbehaviour", [silence, trickle])
async def test_the_deadline_is_total(
    server: PracticeServer, egress: Egress, loop_time: LoopTime, misbehaviour: Handler
) -> None:
    """Silence ends at the deadline, and so does an answer that comes a byte at a time."""  # P1
    server.answers["/"] = misbehaviour
    sending = asyncio.create_task(egress.send(OutboundRequest("GET", server.origin), deadline=NEVER, trusted=True))
    await eventually(lambda: server.asked)
    loop_time.advance(seconds=NEVER)
    with pytest.raises(OutcomeUnknown, match="it took too long"):
        await sending


async def test_a_large_body_is_not_read_to_its_end(server: PracticeServer, egress: Egress) -> None:
    """50 MB are cut off at the cap: most of it was never taken from the wire."""  # P2
    written = 0

    async def flood(_: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 52428800\r\n\r\n")
        for _chunk in range(800):
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    server.answers["/"] = flood
    with pytest.raises(OutcomeUnknown, match="larger than"):
        await egress.send(OutboundRequest("GET", server.origin), deadline=NEVER, trusted=True)
    assert written < 25_000_000


def _gzip(body: bytes) -> bytes:
    # Without the time, which would stand in the names of tests.
    return gzip.compress(body, mtime=0)


_BOMB = _gzip(bytes(50 * MAX_BODY))


@pytest.mark.parametrize(
    ("body", "coding", "reason"),
    [
        (_BOMB, "gzip", "larger than"),
        (_gzip(b"{}") + bytes(MAX_BODY), "gzip", "larger than"),
        # What follows the end of an inner layer would be kept by decoders that work layer by layer.
        (_gzip(_gzip(b"{}") + _BOMB), "gzip, gzip", "encoded more than once"),
        (b"".join([_gzip(b"")] * 5000), "gzip", "too many pieces"),
        (_BOMB[:2000], "gzip", "larger than"),
        (_gzip(b"{}")[:-4], "gzip", "ends in the middle"),
        (b"{}", "gzip", "not encoded in the way"),
        (b"{}", "deflate", "not encoded in the way"),
    ],
)
async def test_a_compressed_body_is_capped_as_it_travels_and_as_it_is(
    server: PracticeServer, egress: Egress, body: bytes, coding: str, reason: str
) -> None:
    """50 MB that travel as a few kilobytes are too large all the same; only one gzip layer is opened."""  # P2
    server.answers["/"] = raw_answer(200, body, {"content-encoding": coding})
    with pytest.raises(OutcomeUnknown, match=reason):
        await egress.send(OutboundRequest("GET", server.origin), deadline=NEVER, trusted=True)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (_gzip(b"{}"), "gzip"),
        (_gzip(b"{}"), "identity, X-Gzip"),
        (_gzip(b"{") + _gzip(b"}"), "gzip"),
        (_gzip(b"{}") + bytes(100), "gzip"),
        (zlib.compress(b"{}"), "deflate"),
        (b"{}", "identity"),
        (b"{}", "utf-8"),
        (b"{}", "none"),
        (b"{}", ""),
    ],
)
async def test_what_servers_really_send_is_read(
    server: PracticeServer, egress: Egress, body: bytes, coding: str
) -> None:
    """Compressed unasked, in several members, padded, or labelled with what is no coding."""  # P2
    server.answers["/"] = raw_answer(200, body, {"content-encoding": coding})
    answer = await egress.send(OutboundRequest("GET", server.origin), deadline=NEVER, trusted=True)
    assert answer.body == b"{}"


@pytest.mark.parametrize(("status", "body"), [(200, b""), (401, b"nonsense"), (429, b"nonsense")])
async def test_a_status_is_heard_whatever_its_body_is_labelled(
    server: PracticeServer, egress: Egress, status: int, body: bytes
) -> None:
    """That a token is refused, or how long to wait, doesn't hang on whether the rest can be decoded."""  # P8
    server.answers["/"] = raw_answer(status, body, {"content-encoding": "gzip", "retry-after": "7"})
    answer = await egress.send(OutboundRequest("GET", server.origin), deadline=NEVER, trusted=True)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (status, b"", "7")


async def test_the_cap_itself_passes(server: PracticeServer, egress: Egress) -> None:
    """The largest body allowed is read, one byte more is not; compression is understood though not asked for."""
    server.answers["/most"] = raw_answer(200, _gzip(b"x" * MAX_BODY), {"content-encoding": "gzip"})
    server.answers["/more"] = raw_answer(200, b"x" * (MAX_BODY + 1))
    answer = await egress.send(OutboundRequest("GET", f"{server.origin}/most"), deadline=NEVER, trusted=True)
    assert len(answer.body) == MAX_BODY
    with pytest.raises(OutcomeUnknown):
        await egress.send(OutboundRequest("GET", f"{server.origin}/more"), deadline=NEVER, trusted=True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer(server: PracticeServer, egress: Egress, status: int) -> None:
    """Nobody is asked at the place a redirect points to, so no secret arrives there."""  # E3
    async with practice_server() as elsewhere:
        location = {"location": f"{elsewhere.origin}/stolen"}
        server.answers["/token"] = raw_answer(status, b"", location)
        request = OutboundRequest("POST", f"{server.origin}/token", {"authorization": "Basic x"}, b"secret")
        answer = await egress.send(request, deadline=NEVER, trusted=True)
        assert answer.status == status
        assert len(server.asked) == 1
        assert elsewhere.asked == []


async def test_no_cookie_is_kept(server: PracticeServer, egress: Egress) -> None:
    """What one answer sets, the next request doesn't bring."""
    server.answers["/"] = raw_answer(200, b"", {"set-cookie": "session=abc; Path=/"})
    for _ in range(2):
        await egress.send(OutboundRequest("GET", server.origin), deadline=NEVER, trusted=True)
    assert [asked.headers.get("cookie") for asked in server.asked] == [None, None]


async def test_the_environments_proxy_is_ignored(server: PracticeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables change nothing; a proxy that is set on purpose is used."""  # E5
    async with practice_server() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.origin)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        server.answers["/"] = raw_answer(200)
        direct, proxied = Egress(), Egress(proxy=proxy.origin)
        try:
            await direct.send(OutboundRequest("GET", server.origin), deadline=NEVER, trusted=True)
            assert (len(server.asked), proxy.asked) == (1, [])
            await proxied.send(OutboundRequest("GET", f"{server.origin}/"), deadline=NEVER, trusted=True)
            assert (len(server.asked), len(proxy.asked)) == (1, 1)
        finally:
            await direct.aclose()
            await proxied.aclose()


async def test_a_refused_connection_was_not_sent(egress: Egress) -> None:
    """Where nobody listens, nothing was sent."""
    async with practice_server() as gone:
        origin = gone.origin
    with pytest.raises(NotSent, match="the connection was refused"):
        await egress.send(OutboundRequest("GET", origin), deadline=NEVER, trusted=True)


async def test_what_is_not_permitted_any_more_does_not_leave(server: PracticeServer, egress: Egress) -> None:
    """Asked when the connection stands: the provider sees nothing of the request, and it counts as not sent."""  # F6
    asked: list[bool] = []

    def permit() -> bool:
        asked.append(False)
        return asked[-1]

    request = OutboundRequest("POST", f"{server.origin}/token", {}, b"refresh_token=secret")
    with pytest.raises(NotSent, match="the right to send"):
        await egress.send(request, deadline=NEVER, trusted=True, permit=permit)
    assert asked == [False]
    assert not server.asked


async def test_a_name_without_an_address_was_not_sent(egress: Egress) -> None:
    """Nor was anything where the name does not resolve (RFC 6761 keeps .invalid empty)."""
    with pytest.raises(NotSent):
        await egress.send(OutboundRequest("GET", "https://nobody.invalid/"), deadline=NEVER, trusted=True)


@pytest.mark.parametrize("broken", [b"", b"HTTP/1.1 200 x\r\ncontent-length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n"])
async def test_a_broken_answer_leaves_the_outcome_unknown(
    server: PracticeServer, egress: Egress, broken: bytes
) -> None:
    """Hung up without a word, or in the middle of one: the request had arrived."""  # P2
    server.answers["/"] = broken
    with pytest.raises(OutcomeUnknown):
        await egress.send(OutboundRequest("POST", server.origin), deadline=NEVER, trusted=True)
    assert len(server.asked) == 1


async def test_an_error_repeats_nothing_of_the_request(server: PracticeServer, egress: Egress) -> None:
    """Neither the error nor the reprs of request and answer hold what was sent."""
    server.answers["/"] = b""
    request = OutboundRequest("POST", server.origin, {"authorization": "Bearer canary"}, b"canary")
    with pytest.raises(OutcomeUnknown) as caught:
        await egress.send(request, deadline=NEVER, trusted=True)
    assert "canary" not in str(caught.value) + repr(caught.value) + repr(request)


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "a\x00", "a\x7f", "ä"])
async def test_a_header_that_can_not_be_sent_is_refused(server: PracticeServer, egress: Egress, value: str) -> None:
    """Control characters in a header stop the request before it leaves, and are not quoted."""
    request = OutboundRequest("GET", server.origin, {"authorization": value})
    with pytest.raises(InvalidRequest, match="authorization") as caught:
        await egress.send(request, deadline=NEVER, trusted=True)
    assert value not in str(caught.value)
    assert server.asked == []


@pytest.mark.parametrize("trusted", [True, False])
async def test_plain_http_stays_on_this_machine(egress: Egress, trusted: bool) -> None:
    """Not even the operator sends secrets over plain http."""
    with pytest.raises(AddressRefused):
        await egress.send(OutboundRequest("GET", "http://provider.test/"), deadline=NEVER, trusted=trusted)


async def test_what_the_operator_did_not_write_is_guarded(server: PracticeServer, egress: Egress) -> None:
    """The same loopback address is called when trusted and refused when not."""  # E1
    server.answers["/"] = raw_answer(200)
    request = OutboundRequest("GET", server.origin)
    with pytest.raises(AddressRefused):
        await egress.send(request, deadline=NEVER, trusted=False)
    assert server.asked == []
    await egress.send(request, deadline=NEVER, trusted=True)
    assert len(server.asked) == 1


Twins = tuple[PracticeServer, PracticeServer, ssl.SSLContext]


class Rebinding:
    """A resolver whose answer changes with every question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = iter(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        assert host == "provider.test"
        self.asked += 1
        return next(self.answers)


@pytest.fixture
async def twins(tmp_path: Path) -> AsyncIterator[Twins]:
    """Two servers on one port at 127.0.0.2 and 127.0.0.1, both certified as provider.test; whom to trust."""
    server_side, client_side = contexts_for("provider.test", tmp_path)
    async with (
        practice_server("127.0.0.2", tls=server_side) as public,
        practice_server("127.0.0.1", public.port, tls=server_side) as internal,
    ):
        public.answers["/"] = internal.answers["/"] = raw_answer(200, b"hello")
        yield public, internal, client_side


async def test_only_the_checked_address_is_dialled(
    twins: Twins,
) -> None:
    """A name that turns to an internal address after the check reaches nothing there."""  # E2
    public, internal, trust = twins
    resolve = Rebinding(["127.0.0.2"], ["127.0.0.1"])
    out = Egress(allow=[ip_network("127.0.0.2/32")], ssl_context=trust, resolve=resolve)
    request = OutboundRequest("GET", f"https://provider.test:{public.port}/")
    try:
        answer = await out.send(request, deadline=NEVER, trusted=False)
        assert (answer.body, resolve.asked) == (b"hello", 1)
        assert [asked.headers["host"] for asked in public.asked] == [f"provider.test:{public.port}"]
        with pytest.raises(AddressRefused):
            await out.send(request, deadline=NEVER, trusted=False)
        assert (len(public.asked), internal.asked) == (1, [])
    finally:
        await out.aclose()


async def test_the_next_checked_address_is_tried_while_nothing_was_sent(
    twins: Twins,
) -> None:
    """A dead address is passed over; an address that got the request is the last one."""
    public, _, trust = twins
    resolve = Rebinding(["127.0.0.3", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"])
    out = Egress(allow=["provider.test"], ssl_context=trust, resolve=resolve)
    request = OutboundRequest("POST", f"https://provider.test:{public.port}/")
    try:
        assert (await out.send(request, deadline=NEVER, trusted=False)).body == b"hello"
        public.answers["/"] = b""
        with pytest.raises(OutcomeUnknown):
            await out.send(request, deadline=NEVER, trusted=False)
        assert len(public.asked) == 2
        assert twins[1].asked == []
    finally:
        await out.aclose()


async def test_the_certificate_is_checked_against_the_name(
    twins: Twins,
) -> None:
    """A pinned address doesn't loosen TLS: another name's certificate, or a stranger's, sends nothing."""
    public, _, trust = twins

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2"]

    allow = [ip_network("127.0.0.0/8")]
    for host, context in (("other.test", trust), ("provider.test", None)):
        out = Egress(allow=allow, ssl_context=context, resolve=resolve)
        try:
            with pytest.raises(NotSent, match="TLS failed"):
                await out.send(OutboundRequest("GET", f"https://{host}:{public.port}/"), deadline=NEVER, trusted=False)
        finally:
            await out.aclose()
    assert public.asked == []


async def test_a_deadline_that_passes_before_sending_was_not_sent() -> None:
    """A resolver that never answers: nothing was sent when the time is up."""  # P1

    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    out = Egress(resolve=hang)
    try:
        with pytest.raises(NotSent, match="it took too long"):
            await out.send(OutboundRequest("GET", "https://provider.test/"), deadline=0.05, trusted=False)
    finally:
        await out.aclose()


async def test_a_tls_handshake_that_never_ends_was_not_sent(egress: Egress, loop_time: LoopTime) -> None:
    """A port that accepts and says nothing: the request itself has not left."""  # P1
    async with practice_server() as mute:
        request = OutboundRequest("GET", mute.origin.replace("http", "https"))
        sending = asyncio.create_task(egress.send(request, deadline=NEVER, trusted=True))
        await eventually(lambda: mute.running)
        loop_time.advance(seconds=NEVER)
        with pytest.raises(NotSent, match="it took too long"):
            await sending
        assert mute.asked == []

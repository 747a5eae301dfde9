"""Tests of :mod:`broker.cli.remote`: what answers there may be no broker at all, and what to do is said then."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from broker.cli.remote import Registration, RemoteBroker, connected
from broker.errors import BrokerUnreachable

CLIENT = Registration("cl_1")
PAGE = b"<html>Welcome</html>"


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    """A web server that has one answer to everything; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, text in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def speaking_tls(farewell: bytes) -> Iterator[str]:
    """What expects TLS, and says ``farewell`` to whoever speaks something else; yields its address for plain HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError), listening.accept()[0] as caller:
                caller.recv(65_536)
                caller.sendall(farewell)

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


FACES: dict[str, Callable[[RemoteBroker], object]] = {
    "oauth": lambda broker: broker.oauth("/oauth/token", {}, CLIENT),
    "json": lambda broker: broker.call("POST", "/v1/connections", {}),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (200, PAGE, {}, "is not a broker (HTTP 200); is BROKER_URL right?"),
        (404, PAGE, {}, "is not a broker (HTTP 404); is BROKER_URL right?"),
        (404, b"", {}, "is not a broker (HTTP 404)"),
        (401, PAGE, {}, "is not a broker (HTTP 401)"),
        (400, b"The plain HTTP request was sent to HTTPS port", {}, "or is it https://127.0.0.1:"),
        (
            301,
            b"",
            {"Location": "https://b.example/x?secret=canary"},
            "it leads to https://b.example/x: set BROKER_URL",
        ),
        (502, PAGE, {}, "what stands before it answered 502"),
    ],
)
def test_what_is_no_broker_is_said_to_be_none(
    face: str, status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    """Exit code 3, not a refusal: above all no login has ended because a proxy says 401."""
    with answering(status, body, headers) as url, connected(url) as http:
        broker = RemoteBroker(http, url)
        broker.use("bat_1")
        with pytest.raises(BrokerUnreachable) as raised:
            FACES[face](broker)
    assert said in raised.value.detail
    assert "canary" not in raised.value.detail


def test_an_answer_without_a_body_is_one() -> None:
    """Of a revocation nothing more is said than that it is done (RFC 7009 §2.2)."""
    with answering(200, b"", {}) as url, connected(url) as http:
        assert RemoteBroker(http, url).oauth("/oauth/revoke", {"token": "t"}, CLIENT) == {}


@pytest.mark.parametrize("farewell", [b"", b"\x15\x03\x01\x00\x02\x02\x16"])
def test_plain_http_to_a_port_with_tls_is_told_apart(farewell: bytes) -> None:
    """Some servers send an alert (RFC 8446 §6), some just hang up."""
    with speaking_tls(farewell) as url, connected(url) as http, pytest.raises(BrokerUnreachable) as raised:
        RemoteBroker(http, url).oauth("/oauth/token", {}, CLIENT)
    assert f"if it speaks TLS it is https{url.removeprefix('http')}" in raised.value.detail


def test_tls_to_a_port_with_plain_http_is_told_apart() -> None:
    """The advice names the address that would do."""
    with answering(200, PAGE, {}) as url, connected(url) as http, pytest.raises(BrokerUnreachable) as raised:
        RemoteBroker(http, f"https{url.removeprefix('http')}").oauth("/oauth/token", {}, CLIENT)
    assert f"is it {url}?" in raised.value.detail

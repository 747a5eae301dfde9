"""Where a browser returns to on this machine: a listener on 127.0.0.1, for one answer (RFC 8252 §7.3)."""

import hmac
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from broker.errors import BrokerError

PATH: Final = "/callback"
_STOPS_WITHIN: Final = 0.05
_SILENCE_AT_MOST: Final = 10.0
"""Seconds that a browser may hold a connection open without asking anything."""

_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_HTML: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid; place-items: center }}
main {{ max-width: 26rem; padding: 2rem; text-align: center }}
h1 {{ font-size: 1.5rem; margin: 0 0 .5rem }}
p {{ margin: 0 }}
</style>
<main><h1>{title}</h1><p>{message}</p></main>
</html>
"""


Finish = Callable[[Mapping[str, str]], dict[str, Any]]
"""Takes the parameters that came back and answers the connection that was made with them."""


@contextmanager
def listening(state: str, finish: Finish) -> Iterator[tuple[str, "Future[dict[str, Any]]"]]:
    """Listen on a free port; yields the return address, and what ``finish`` will have answered or raised.

    The browser is told first: by the time there is a result, its page has been sent.

    :param state: what the browser must bring along; whoever doesn't know it changes nothing.
    :param finish: called once, in a thread of its own, for the first request that brings ``state``.
    """
    desk = _Desk(state, finish)
    with _Server(desk) as server:
        serving = partial(server.serve_forever, poll_interval=_STOPS_WITHIN)
        Thread(target=serving, name="loopback listener", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{PATH}", desk.result
        finally:
            server.shutdown()


@dataclass(frozen=True, slots=True)
class _Page:
    title: str
    message: str
    status: int = 200


_NOT_FOUND: Final = _Page("Nothing to see here", "This is not the page you were sent to.", 404)
_CONNECTED: Final = _Page("Connected", "You can close this window and go back to the terminal.")


class _Desk:
    """Takes in one answer, however often the browser brings it."""

    def __init__(self, state: str, finish: Finish) -> None:
        self.result: Future[dict[str, Any]] = Future()
        self._state = state
        self._finish = finish
        self._lock = Lock()
        self._outcome: Future[dict[str, Any]] = Future()

    def knows(self, state: str) -> bool:
        """Whether this is the state; how much of it is right does not show in the time it takes."""
        return hmac.compare_digest(state.encode(), self._state.encode())

    def take(self, answer: Mapping[str, str]) -> _Page:
        """How it ended. A page that is loaded again says the same again."""
        with self._lock:
            if not self._outcome.done():
                try:
                    self._outcome.set_result(self._finish(answer))
                except Exception as error:
                    self._outcome.set_exception(error)
        match self._outcome.exception():
            case None:
                return _CONNECTED
            case BrokerError(detail=detail):
                return _Page("Not connected", f"You can close this window. What happened: {detail}.", 400)
            case _:
                return _Page("Not connected", "You can close this window. The terminal says what happened.", 500)

    def release(self) -> None:
        """Let the terminal go on: the browser knows."""
        with self._lock:
            if self.result.done():
                return
            error = self._outcome.exception()
            if error is None:
                self.result.set_result(self._outcome.result())
            else:
                self.result.set_exception(error)


class _Server(ThreadingHTTPServer):
    # Browsers open connections ahead of need; none of them may hold up the one that asks, or the end.
    daemon_threads = True

    def __init__(self, desk: _Desk) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.desk = desk

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is no reason to write into the terminal."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _SILENCE_AT_MOST
    server: _Server

    def do_GET(self) -> None:
        """``/callback`` with the right state; anything else is nobody we wait for."""
        address = urlsplit(self.path)
        parameters = parse_qs(address.query, keep_blank_values=True, max_num_fields=20)
        answer = {name: values[0] for name, values in parameters.items() if len(values) == 1}
        if address.path != PATH or not self.server.desk.knows(answer.get("state", "")):
            self._tell(_NOT_FOUND)
            return
        page = self.server.desk.take(answer)
        try:
            self._tell(page)
        finally:
            self.server.desk.release()

    def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002 - the base class's name
        """The terminal belongs to the command."""

    def _tell(self, page: _Page) -> None:
        html = _HTML.format(title=escape(page.title), message=escape(page.message)).encode()
        self.send_response(page.status)
        for name, value in {**_HEADERS, "Content-Length": str(len(html))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(html)
        self.wfile.flush()

"""A broker in a few lines, over real HTTP: it answers what a test has laid out, and remembers what it was asked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

Answer = tuple[int, dict[str, Any]]
CUT: Answer = (0, {})
"""No answer: the connection is closed."""


@dataclass
class Stub:
    """What it will answer to each path, and what it was asked."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    """In turn; the last one over and over."""
    asked: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    """Path, form or JSON body, and the Authorization header."""

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """What came to one path."""
        return [body for asked, body, _ in self.asked if asked == path]


@contextmanager
def stub_broker() -> Iterator[Stub]:
    """The stub, serving."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            is_json = self.headers["Content-Type"] == "application/json"
            self._answer(json.loads(text) if is_json else dict(parse_qsl(text)))

        def _answer(self, body: dict[str, Any]) -> None:
            stub.asked.append((self.path, body, self.headers.get("Authorization", "")))
            answers = stub.answers.get(self.path, [(404, {"detail": "nothing here"})])
            status, document = answers.pop(0) if len(answers) > 1 else answers[0]
            if (status, document) == CUT:
                self.close_connection = True
                return
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in document.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()

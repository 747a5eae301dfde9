"""One blocking connection to a store server, for asking how it is. Standard library only."""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

_ANSWER_SECONDS = 5.0


class Wire:
    """Inline commands and RESP2 answers (https://valkey.io/topics/protocol/). A failure is an ``OSError``."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_ANSWER_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._answers.close()
        self._socket.close()

    def fileno(self) -> int:
        """The socket's descriptor. Between questions it becomes readable only when the server hangs up."""
        return self._socket.fileno()

    def ask(self, command: str) -> str:
        """The server's answer to ``command``: an array line by line, an error as its text (``LOADING …``)."""
        self._socket.sendall(command.encode() + b"\r\n")
        return self._answer()

    def _answer(self) -> str:
        line = self._answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"$":
            return self._answers.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return "\n".join(self._answer() for _ in range(int(rest)))
        return rest

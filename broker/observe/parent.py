"""Logs of the parent process: lines like the workers', made with the standard library alone.

The parent is to start in a moment and logs a handful of lines in its life; :mod:`broker.observe.logs` would bring
structlog along. What it logs are pids, exit codes and its own files: no secret passes through its hands.
"""

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object a line, with the fields of the workers' lines."""

    def format(self, record: logging.LogRecord) -> str:
        """``event``, ``level``, ``logger``, ``timestamp`` (UTC) and, where there is one, ``exception``."""
        line = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": _moment(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class PlainLines(logging.Formatter):
    """Lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """When, how bad, what."""
        return f"{_moment(record)} [{record.levelname.lower():9}] {super().format(record)}"


def configure(level: str, form: str) -> None:
    """Set up logging for the parent process; ``level`` and ``form`` as for :func:`broker.observe.logs.configure`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

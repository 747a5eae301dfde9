"""Logging as processes have it, into memory: what a test looks for a secret in."""

import logging
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO

import pytest
import structlog

from broker.observe import logs


def configure_into(stream: StringIO, level: str = "DEBUG", form: str = "json") -> None:
    """Configure logging, with ``stream`` in the place of standard error."""
    with redirect_stderr(stream):
        logs.configure(level, form)
    # Loggers that remembered this configuration would write into memory for the rest of the run.
    structlog.configure(cache_logger_on_first_use=False)


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """Every line that is logged, at DEBUG, as JSON."""
    root, broker = logging.getLogger(), logging.getLogger("broker")
    handlers, levels = root.handlers[:], (root.level, broker.level)
    stream = StringIO()
    configure_into(stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    broker.setLevel(levels[1])

"""The parent's lines: like the workers', without structlog."""

import json
import logging
import subprocess
import sys
from datetime import datetime
from io import StringIO

import structlog

from broker.observe.parent import JsonLines


def test_a_line_has_the_fields_of_a_workers_line(logged: StringIO) -> None:
    """Who reads the logs of a broker finds the same names in all of them, and the time written in one way."""
    try:
        raise OSError("gone")
    except OSError as error:
        structlog.get_logger("broker.sample").error("one", exc_info=error)
        record = logging.LogRecord("broker.sample", logging.ERROR, "", 0, "%s", ("one",), sys.exc_info())
    theirs, ours = json.loads(logged.getvalue()), json.loads(JsonLines().format(record))
    assert ours.keys() == theirs.keys()
    moments = [datetime.strptime(line.pop("timestamp"), "%Y-%m-%dT%H:%M:%S.%f%z") for line in (theirs, ours)]
    assert abs((moments[0] - moments[1]).total_seconds()) < 10
    assert "OSError: gone" in ours.pop("exception")
    del theirs["exception"]
    assert ours == theirs


def test_the_parent_does_without_structlog() -> None:
    """What it imports delays its start."""
    code = "import sys, broker.app.supervisor; sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

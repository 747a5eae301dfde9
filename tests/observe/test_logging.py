"""Logging as processes have it: JSON lines on standard error, tracebacks without secrets, chatty libraries capped."""

import json
import logging
from io import StringIO
from typing import Any

import pytest
import structlog

from broker.models.ids import new_secret
from tests.observe.capture import configure_into


def lines(logged: StringIO) -> list[dict[str, Any]]:
    """What was logged, line by line."""
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_logger(logged: StringIO) -> None:
    """Each line stands for itself."""
    structlog.get_logger("broker.sample").info("something.happened", count=2)
    [line] = lines(logged)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "something.happened", "count": 2, "level": "info", "logger": "broker.sample"}


@pytest.mark.parametrize("name", ["broker.sample", "uvicorn.error"])
def test_a_traceback_shows_no_secret(logged: StringIO, name: str) -> None:
    """Neither the message of an exception, nor its causes, nor the variables on the way; of anybody's loggers."""  # K1
    secret = new_secret("bat")
    try:
        try:
            raise KeyError({"access_token": "pat_planted", "held": secret})
        except KeyError as error:
            raise RuntimeError(f"while using {secret}") from error
    except RuntimeError:
        if name.startswith("broker"):
            structlog.get_logger(name).exception("request.failed")
        else:
            logging.getLogger(name).exception("Exception in ASGI application with %s", secret)
    [line] = lines(logged)
    assert "RuntimeError" in line["exception"]
    assert "KeyError" in line["exception"]
    assert secret not in logged.getvalue()
    assert "pat_planted" not in logged.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_both_forms_redact(logged: StringIO, form: str) -> None:
    """The form is a matter of taste, redaction is not."""  # K1
    configure_into(logged, "DEBUG", form)
    secret = new_secret("bcs")
    structlog.get_logger("broker.sample").warning(f"made {secret}", client_secret="x9", nested=[{"password": "x9"}])
    logging.getLogger("uvicorn.error").warning("saw %s", secret)
    assert logged.getvalue().count("\n") == 2
    assert secret not in logged.getvalue()
    assert "x9" not in logged.getvalue()


@pytest.mark.parametrize(
    "name", ["authlib", "authlib.oauth2", "httpx2", "httpcore2.http11", "redis", "asyncio", "hpack"]
)
def test_chatty_libraries_are_capped_at_debug(logged: StringIO, name: str) -> None:
    """They log tokens, codes and headers below WARNING; at our DEBUG they stay silent."""  # K1
    logging.getLogger(name).debug("send_request_headers %r", [("x-secret", "planted")])
    logging.getLogger(name).info("HTTP Request: GET /?q=planted")
    assert logged.getvalue() == ""
    logging.getLogger(name).warning("the pool is full")
    assert len(lines(logged)) == 1


def test_debug_is_for_the_brokers_own_lines(logged: StringIO) -> None:
    """A library nobody thought of does not pour its debugging into our log, either."""
    logging.getLogger("some_new_library").debug("body %s", "planted")
    structlog.get_logger("broker.sample").debug("own.line")
    assert [line["event"] for line in lines(logged)] == ["own.line"]


def test_the_level_is_that_of_all_lines(logged: StringIO) -> None:
    """At WARNING nobody's INFO is written."""
    configure_into(logged, "WARNING")
    structlog.get_logger("broker.sample").info("not.this")
    logging.getLogger("uvicorn.error").info("nor this")
    structlog.get_logger("broker.sample").warning("but.this")
    assert [line["event"] for line in lines(logged)] == ["but.this"]

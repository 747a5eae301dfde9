"""Structured logs on standard error. Nothing that looks like a secret gets through, whoever logs it."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

REDACTED: Final = "[redacted]"

_SECRET_KEYS: Final = re.compile(
    r"(?i)token|secret|password|authorization|cookie|verifier|credential|api_?key|assertion|\bcode\b|completion_code"
)
_HARMLESS_KEYS: Final = re.compile(
    r"(?i)^(status_code|error_code|token_type|token_endpoint|credential_type|http_status)$"
)
_SECRET_VALUES: Final = re.compile(
    r"""(?ix)
    \b(?:bat|brt|bcs|ref|ch|st)_[0-9a-z]{20,}(?:_[0-9a-z]{20,})?   # our own secrets, by their shape
    | \beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?                       # JSON web tokens
    | \b(?:bearer|basic)\s+[\w~+/.=-]{8,}                          # Authorization headers
    | (?:^|(?<=[?&;\s"']))(?:code|state|token|access_token|refresh_token|client_secret|code_verifier|completion_code)
      =[^\s&"']+                                                   # parameters in addresses and bodies
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                              # user and password in addresses
    """
)
_CHATTY: Final = ("authlib", "httpx2", "httpcore2", "redis", "asyncio", "hpack")
"""Libraries whose DEBUG lines carry tokens, codes and headers: never below WARNING, whatever our own level."""


def configure(level: str, form: str) -> None:
    """Set up logging for this process.

    :param level: ``debug``, ``info``, ``warning`` or ``error``; applies to the broker's own logs.
    :param form: ``json`` or ``console``.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        # What the level leaves out costs nothing: it is dropped before it is put together.
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: replaces secrets by key and by shape, at any depth."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:  # noqa: ANN401 - whatever somebody logs
    if _SECRET_KEYS.search(key) and not _HARMLESS_KEYS.match(key):
        return REDACTED
    match value:
        case str():
            return _SECRET_VALUES.sub(REDACTED, value)
        case bytes():
            return _SECRET_VALUES.sub(REDACTED, value.decode("utf-8", "replace"))
        case Mapping():
            return {inner: _redacted(str(inner), item) for inner, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(key, item) for item in value]
        case BaseException():
            return _SECRET_VALUES.sub(REDACTED, repr(value))
        case _:
            return value

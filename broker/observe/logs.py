"""Structured logs on standard error. Nothing that looks like a secret gets through, whoever logs it."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

REDACTED: Final = "[redacted]"

_SECRET_KEYS: Final = re.compile(
    r"(?i)token|secret|password|passphrase|authorization|cookie|verifier|credential|(api|private|encryption)_?key"
    r"|assertion|\bcode\b|(authorization|completion|device|user)_code|^state$"
)
_HARMLESS_KEYS: Final = re.compile(
    r"(?i)^(status_code|error_code|token_type|token_endpoint|credential_type|http_status)$"
)
_NAMES: Final = (
    r"(?:code|state|token|access_token|refresh_token|id_token|subject_token|client_secret|client_assertion"
    r"|code_verifier|completion_code|device_code|password|api_key|authorization|(?:set-)?cookie)"
)
"""What secrets are called in addresses, bodies and headers."""
_SECRET_VALUES: Final = re.compile(
    rf"""(?ix)
    \b(?:bat|brt|bcs|ref|ch|st)_[0-9a-z]{{20,}}(?:_[0-9a-z]{{20,}})?   # our own secrets, by their shape
    | \beyJ[\w-]{{8,}}\.[\w-]{{8,}}(?:\.[\w-]*)?                     # JSON web tokens
    | \b(?:bearer|basic)\s+[\w~+/.=-]{{8,}}                          # Authorization headers
    | (?:^|(?<=[?&;\s"'])){_NAMES}=[^\s&"']+                         # parameters in addresses and bodies
    | ["']{_NAMES}\\*["']\s*[:,]\s*b?\\*["'][^"'\\]+              # members of JSON, dictionaries, lists of headers
    | (?<=://)[^/\s@]+(?=@)                                          # user and password in addresses
    """
)
_CHATTY: Final = ("authlib", "httpx2", "httpcore2", "redis", "asyncio", "hpack")
"""Libraries whose lines carry tokens, codes and headers: never below WARNING, whatever our own level."""


def configure(level: str, form: str) -> None:
    """Set up logging for this process.

    :param level: ``debug``, ``info``, ``warning`` or ``error``; applies to the broker's own logs.
    :param form: ``json`` or ``console``.
    """
    own = logging.getLevelNamesMapping()[level.upper()]
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
        wrapper_class=structlog.make_filtering_bound_logger(own),
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
    # DEBUG is for the broker's own lines; what others find worth debugging is whatever passes through their hands.
    root.setLevel(max(logging.INFO, own))
    logging.getLogger("broker").setLevel(own)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, own))


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: replaces secrets by key and by shape, at any depth."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:  # noqa: ANN401 - whatever somebody logs
    if _SECRET_KEYS.search(key) and not _HARMLESS_KEYS.match(key):
        return REDACTED
    match value:
        case None | bool() | int() | float():
            return value
        case bytes() | bytearray():
            return _without_secrets(value.decode("utf-8", "replace"))
        case Mapping():
            return {_without_secrets(str(inner)): _redacted(str(inner), item) for inner, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(key, item) for item in value]
        case str():
            return _without_secrets(value)
        case _:
            # An exception, an address, a request: the renderer would write its repr, so that is what is looked at.
            return _without_secrets(repr(value))


def _without_secrets(text: str) -> str:
    return _SECRET_VALUES.sub(REDACTED, text)

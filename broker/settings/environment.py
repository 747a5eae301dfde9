"""The process's variables, ``.env`` and secret files → ``Settings``, or every fault at once."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from pydantic import ValidationError

from broker.errors import ConfigurationError
from broker.settings.model import PREFIX, Settings

_FROM_FILE = frozenset({"encryption_keys", "redis_url", "client_secret"})
"""Settings that ``BROKER_<NAME>_FILE`` may give instead: the value is then read from that file."""

_SERVICE_LINK = re.compile(r"BROKER_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
"""What Kubernetes puts into the environment of every pod beside a service that is named ``broker``."""


@dataclass(frozen=True, slots=True)
class _Given:
    variable: str
    text: str


def read_environment(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> dict[str, str]:
    """The variables of ``environ`` (default: the process's) over those of ``env_file``, where that exists.

    :raises ConfigurationError: ``env_file`` can't be read, or has lines that set nothing.
    """
    in_file = {} if env_file is None else _read_env_file(env_file)
    return {**in_file, **(os.environ if environ is None else environ)}


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """The settings that the ``BROKER_`` variables describe. An empty variable counts as unset.

    :raises ConfigurationError: with all faults at once, each naming its variable.
    """
    everything = read_environment(environ, env_file)
    variables = {name: text for name, text in everything.items() if text}
    faults = list(_unknown_variables(everything))
    given: dict[str, _Given] = {}
    for field in Settings.model_fields:
        try:
            found = _find(field, variables)
        except ConfigurationError as error:
            faults.extend(error.faults)
            found = _Given(PREFIX + field.upper(), "")  # given, although it can't be used
        if found:
            given[field] = found
    if "redis_url" in given and "encryption_keys" not in given:
        faults.append("BROKER_ENCRYPTION_KEYS: is required with an external store (BROKER_REDIS_URL)")
    try:
        settings = Settings.model_validate({field: found.text for field, found in given.items() if found.text})
    except ValidationError as error:
        faults.extend(_faults(error, given))
        settings = None
    if faults or settings is None:
        raise ConfigurationError(faults)
    return settings


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        # A pipe, too: secret managers offer one in place of a file.
        if not (path.is_file() or path.is_fifo()):
            return {}
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError([f"{path}: can't be read as UTF-8 text"]) from None
    # Where there is such a file, and on servers there is none, its reader is worth what it takes to load.
    from dotenv import dotenv_values  # noqa: PLC0415
    from dotenv.parser import parse_stream  # noqa: PLC0415

    faults = []
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            # A statement begins with the blank lines above it.
            statement = binding.original.string
            blank_lines = statement[: -len(statement.lstrip())].count("\n")
            faults.append(f"{path}:{binding.original.line + blank_lines}: not NAME=value")
    if faults:
        raise ConfigurationError(faults)
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def _find(field: str, variables: Mapping[str, str]) -> _Given | None:
    """The text of ``field`` and the variable it came from.

    :raises ConfigurationError: it is given twice, or its file can't be read.
    """
    variable, file_variable = PREFIX + field.upper(), f"{PREFIX}{field.upper()}_FILE"
    if field not in _FROM_FILE or file_variable not in variables:
        return _Given(variable, variables[variable]) if variable in variables else None
    if variable in variables:
        raise ConfigurationError([f"{variable}: {file_variable} is set too; only one of them may be"])
    try:
        text = Path(variables[file_variable]).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ConfigurationError([f"{file_variable}: the file does not exist"]) from None
    except (OSError, ValueError):
        raise ConfigurationError([f"{file_variable}: the file can't be read as UTF-8 text"]) from None
    if not text:
        raise ConfigurationError([f"{file_variable}: the file is empty"])
    return _Given(file_variable, text)


def _unknown_variables(variables: Mapping[str, str]) -> Iterator[str]:
    """Faults for ``BROKER_`` variables that look like a setting and are none: typing errors that would go unnoticed.

    Others with the prefix may be somebody else's.
    """
    known = [PREFIX + field.upper() for field in Settings.model_fields]
    known += [f"{PREFIX}{field.upper()}_FILE" for field in sorted(_FROM_FILE)]
    for name in sorted(variables):
        if not name.startswith(PREFIX) or name in known or _SERVICE_LINK.fullmatch(name):
            continue
        from difflib import get_close_matches  # noqa: PLC0415 - only for variables that nobody knows

        # Compared without the prefix, which would make everything look alike.
        endings = {candidate.removeprefix(PREFIX): candidate for candidate in known}
        close = get_close_matches(name.removeprefix(PREFIX), endings, n=1)
        if close:
            yield f"{name}: unknown setting (did you mean {endings[close[0]]}?)"


def _faults(error: ValidationError, given: Mapping[str, _Given]) -> Iterator[str]:
    for fault in error.errors(include_input=False, include_url=False):
        if fault["type"] == "default_factory_not_called":
            continue  # a default that builds on a value that is at fault itself
        field = str(fault["loc"][0])
        found = given.get(field)
        variable = found.variable if found else PREFIX + field.upper()
        message = fault["msg"].removeprefix("Value error, ")
        if field == "port" and found and found.text.startswith("tcp://"):
            message = "was set by Kubernetes for a service named broker: put enableServiceLinks: false into the pod"
        yield f"{variable}: {message[0].lower()}{message[1:]}"

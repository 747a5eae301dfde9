"""A credential on its way into a command: asked for at a terminal, or read from standard input where there is none.

Never from the command line, which every user of the machine can read in the list of processes and which shells write
down.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import typer

from broker.cli.output import note, printable
from broker.errors import FieldFault, InvalidRequest
from broker.providers import Provider
from broker.providers.credential_sections import CredentialField

_LONGEST: Final = 65_536
"""Characters; the largest document that is handed in has half of that."""


def read_credentials(provider: Provider) -> Mapping[str, Any]:
    """What somebody hands in for ``provider``: the fields of its type, unjudged. Nothing is asked where there are none.

    :raises InvalidRequest: standard input holds no credential, or a file that is named can't be read.
    :raises typer.Abort: the person ended it.
    """
    if not provider.credential_fields:
        return {}
    return _asked(provider) if sys.stdin.isatty() else _piped(provider)


def _asked(provider: Provider) -> dict[str, str]:
    told = provider.credential_help
    if told is not None:
        note(told.text + (f" ({told.url})" if told.url else ""))
    answers = {name: _ask(field) for name, field in provider.form_fields.items()}
    return {name: answer for name, answer in answers.items() if answer}


def _ask(field: CredentialField) -> str:
    """One field. What has several lines no prompt can take, so a file with it is named."""
    words = [part for part in (field.help, "optional" if field.optional else None) if part]
    question = printable(field.label + (f" ({'; '.join(words)})" if words else ""))
    if field.multiline:
        note(question)
        path = _line("  Path of a file that holds it", optional=field.optional)
        return _read_file(path, field) if path else ""
    if not field.secret:
        return _line(question, optional=field.optional)
    empty = "" if field.optional else None
    answer: str = typer.prompt(question, default=empty, show_default=False, hide_input=True, err=True)
    return answer


def _line(question: str, *, optional: bool) -> str:
    """What is typed; asked for again where something is needed. Unlike typer's prompt it leaves stdout alone."""
    while True:
        print(f"{question}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise typer.Abort
        if line.strip() or optional:
            return line.strip()


def _read_file(path: str, field: CredentialField) -> str:
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            return file.read(_LONGEST)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise InvalidRequest("the file can't be read", [FieldFault(field.label, why)]) from None


def _piped(provider: Provider) -> Mapping[str, Any]:
    """A JSON object of fields; where only one field is needed, its value alone will do."""
    try:
        text = sys.stdin.read(_LONGEST + 1).strip()
    except UnicodeDecodeError:
        raise _unreadable(provider, "is no text") from None
    if not text or len(text) > _LONGEST:
        raise _unreadable(provider, "is empty" if not text else f"may have {_LONGEST} characters")
    needed = [name for name, field in provider.credential_fields.items() if not field.optional]
    if text.startswith("{"):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise _unreadable(provider, "is no JSON") from None
        return dict(document)
    if len(needed) != 1:
        raise _unreadable(provider, "is no JSON object")
    return {needed[0]: text}


def _unreadable(provider: Provider, why: str) -> InvalidRequest:
    fields = ", ".join(
        name + (" (optional)" if field.optional else "") for name, field in provider.credential_fields.items()
    )
    return InvalidRequest(
        "the credential is read from standard input, as a JSON object",
        [FieldFault("stdin", f"{why}; fields: {fields}")],
    )

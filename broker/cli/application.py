"""All commands: finds the module of one, and turns errors into lines and exit codes."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final

import typer

from broker.cli.faults import EXIT_CODES, complain
from broker.errors import BrokerError

_COMMANDS: Final = (
    *("serve", "connect", "doctor", "clients", "providers", "connections", "devices", "keys", "events", "config"),
    *("login", "token", "exec", "git-credential", "logout", "whoami"),
)
"""Each stands in the module of its name, which has it as ``commands``: a command, or a group of commands."""


def run(app: typer.Typer, words: Sequence[str]) -> None:
    """Run the command that ``words`` name; ends with ``SystemExit``."""
    try:
        app(args=words, prog_name="broker")
    except BrokerError as error:
        sys.exit(complain(error))


def application(words: Sequence[str]) -> typer.Typer:
    """The commands; only those of one module where the first word says which, so that ``serve`` starts at once."""
    app = typer.Typer(
        help="An OAuth 2.0 broker: connects accounts, keeps their tokens fresh, hands them to your services.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        rich_markup_mode=None,
        # A traceback with local variables would print secrets.
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    app.command()(demo)
    for name in words[:1] if words[:1] and words[0] in _COMMANDS else _COMMANDS:
        app.add_typer(import_module(f"broker.cli.{name.replace('-', '_')}").commands)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"broker {version('broker')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def demo(
    once: Annotated[bool, typer.Option("--once", help="Press the buttons itself, then end.")] = False,
) -> None:
    """See the whole story on this machine: a practice provider, the broker, an app and a worker."""
    from broker.cli.demo.command import run  # noqa: PLC0415 - brings half of the product along

    raise typer.Exit(run(once=once))

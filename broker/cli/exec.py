"""``broker exec``: run a program with a fresh token in its environment, and nowhere else."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from broker.cli.headless import headless
from broker.cli.output import note
from broker.cli.target import shown, target
from broker.cli.token import MinTtl, Name, Refused
from broker.errors import BrokerError, ConfigurationError
from broker.providers.programs import may_be_set

commands = typer.Typer()

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
"""As shells have them (POSIX.1-2024, 2.8.2)."""
_PLACE: Final = "{access_token}"


@commands.command()
def exec(  # noqa: A001 - the command's name
    name: Name,
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, after --.", metavar="-- CMD…")],
    min_ttl: MinTtl = 0,
    refused: Refused = False,
) -> None:
    """Run a program that finds a fresh access token in its environment. Which variables, the provider's env says."""
    with headless() as at:
        chosen = target(at, name)
        provider = chosen.provider()
        templates = _templates(str(provider["name"]), provider.get("env") or {})
        text = shown(chosen.fetch(min_ttl, refused=refused))
    variables = {variable: template.replace(_PLACE, text) for variable, template in templates.items()}
    raise typer.Exit(_become(command, {**os.environ, **variables}))


def _templates(provider: str, env: Mapping[str, str]) -> Mapping[str, str]:
    """The variables to set.

    :raises BrokerError: the provider has none.
    :raises ConfigurationError: one could do more than bring a token.
    """
    if not env:
        raise BrokerError(f"the provider {provider!r} names no variables for programs: its entry has no env")
    for variable, template in env.items():
        if not may_be_set(variable) or _PLACE not in template:
            raise ConfigurationError([f"the env of provider {provider!r} can't be used: {variable!r}"])
    return env


def _become(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Be that program from now on; answers the exit code where that can't be."""
    # Python ignores it, and who is executed inherits that: `| head` would not end the program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout.flush()
    try:
        os.execvpe(command[0], list(command), environ)  # noqa: S606 - that is what the command is for
    except (FileNotFoundError, NotADirectoryError):
        note(f"{command[0]}: not found")
        return _NOT_FOUND
    except (OSError, ValueError) as error:
        note(f"{command[0]}: {getattr(error, 'strerror', None) or 'can not be executed'}")
        return _NOT_EXECUTABLE

"""``broker logout``: end logins of this machine, at the broker and here."""

from collections.abc import Sequence
from typing import Annotated

import typer

from broker.cli.credentials import Login
from broker.cli.faults import NotLoggedIn
from broker.cli.headless import Headless, headless
from broker.cli.output import note

commands = typer.Typer()


@commands.command()
def logout(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A provider (its newest login), or a connection. Default: the only login.", metavar="PROVIDER|con_…"
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All logins at this broker.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Only forget here; the broker is not told.")] = False,
) -> None:
    """Log this machine out. What no other machine uses is disconnected at the provider, too."""
    if every and name is not None:
        raise typer.BadParameter("--all, or one of them", param_hint="PROVIDER|con_…")
    with headless() as at:
        for login in _meant(at, name, every):
            if forget:
                at.credentials.forget(login)
            else:
                at.machine.end(login)
            note(f"logged out: {login.provider} {login.connection_id}")


def _meant(at: Headless, name: str | None, every: bool) -> Sequence[Login]:
    logins = at.machine.logins()
    if every:
        return logins
    if name is not None:
        found = at.machine.find(name)
        logins = [] if found is None else [found]
    if not logins:
        raise NotLoggedIn(f"not logged in{'' if name is None else f' with {name!r}'} at {at.broker.url}")
    if len(logins) > 1:
        known = ", ".join(f"{login.provider} ({login.connection_id})" for login in logins)
        raise typer.BadParameter(f"there are several logins, name one or say --all: {known}")
    return logins

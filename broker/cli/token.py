"""``broker token``: a fresh access token of the provider on stdout, and nothing else."""

from typing import Annotated

import typer

from broker.cli.headless import headless
from broker.cli.output import Json, print_json
from broker.cli.target import shown, target

commands = typer.Typer()

Name = Annotated[str, typer.Argument(help="A provider, or a connection.", metavar="PROVIDER|con_…")]
MinTtl = Annotated[int, typer.Option(help="Seconds that the token should still live.", min=0, metavar="SECONDS")]

Refused = Annotated[
    bool, typer.Option("--refused", help="The provider refused the last one, though its time isn't over: another one.")
]


@commands.command()
def token(name: Name, min_ttl: MinTtl = 0, refused: Refused = False, as_json: Json = False) -> None:
    """Print a fresh access token: of a login of this machine, else as the configured client."""
    with headless() as at:
        fetched = target(at, name).fetch(min_ttl, refused=refused)
    text = shown(fetched)
    if as_json:
        print_json(fetched)
    else:
        print(text)

"""``broker config``: what configuration may say."""

import typer

from broker.cli.output import Json, print_json
from broker.providers.json_schema import json_schema

commands = typer.Typer(
    name="config", help="Help with configuration files.", no_args_is_help=True, rich_markup_mode=None
)


# Without a callback, a group of one command would become that command.
@commands.callback()
def _group() -> None:
    pass


@commands.command()
def schema(_as_json: Json = False) -> None:
    """Print the JSON Schema of providers.yaml, for editors: > providers.schema.json."""
    # --json is taken as everywhere else; here it changes nothing, a schema is JSON.
    print_json(json_schema())

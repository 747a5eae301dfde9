"""``--parameter NAME=VALUE``: what a provider asks for, such as a subdomain."""

from collections.abc import Sequence

import typer


def parameters_of(pairs: Sequence[str]) -> dict[str, str]:
    """Names and values.

    :raises typer.BadParameter: one is no pair, or a name is given twice.
    """
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals) or name in parameters:
            raise typer.BadParameter("each is NAME=VALUE, and each name is given once", param_hint="--parameter")
        parameters[name] = value
    return parameters

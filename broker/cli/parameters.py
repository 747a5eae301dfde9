"""Options that several commands read alike: ``--parameter NAME=VALUE``, what a provider asks for, such as a subdomain;
``--tenant``."""

from collections.abc import Sequence

import typer

from broker.models.access import fault_of_tenant


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


def named_tenant(tenant: str | None) -> str | None:
    """A tenant as ``--tenant`` names it. An empty one, such as a variable that isn't set, is never the default tenant.

    :raises typer.BadParameter: no tenant is called so.
    """
    fault = None if tenant is None else fault_of_tenant(tenant)
    if fault is not None:
        raise typer.BadParameter(fault)
    return tenant

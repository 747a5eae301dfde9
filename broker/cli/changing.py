"""``broker connections create`` and ``update``: a credential, or a change of mind, that needs no browser.

A credential that is handed in here goes the way of those that come by the API: judged, tried at the provider, stored.
"""

from typing import Annotated

import typer

from broker.app.heart import Heart
from broker.cli.handing_in import read_credentials
from broker.cli.one_connection import ConnectionId, existing_connection, print_connection
from broker.cli.output import Json
from broker.cli.parameters import named_tenant, parameters_of
from broker.cli.session import configured_providers, with_heart
from broker.connections.authorization import Wanted
from broker.connections.changes import Change
from broker.downstream.api.views import ConnectionView
from broker.errors import FieldFault, InvalidRequest, NotFound
from broker.models.access import DEFAULT_TENANT, Reach
from broker.providers import Provider
from broker.settings import load_settings

Validate = Annotated[
    bool, typer.Option("--validate/--no-validate", help="Try the credential at the provider before it is stored.")
]


def create(
    provider: Annotated[str, typer.Argument(help="An entry of providers.yaml.")],
    subject: Annotated[str, typer.Option(help="Whose connection it will be.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope that is needed; may be repeated. Default: the provider's own.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="What the provider asks for, such as a subdomain; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    label: Annotated[str | None, typer.Option(help="For people.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose connection.", callback=named_tenant)] = DEFAULT_TENANT,
    validate: Validate = True,
    as_json: Json = False,
) -> None:
    """Make a connection of a credential: asked for at a terminal, else read from standard input (JSON).

    Where only one field is needed, such as an API key, standard input may be its value alone. {} at a provider with
    OAuth: the client credentials grant.
    """
    parameters = parameters_of(parameter or [])
    entry = _configured(provider)
    credentials = read_credentials(entry)

    async def work(heart: Heart) -> ConnectionView:
        wanted = Wanted(
            tenant=tenant,
            client_id=None,
            subject=_given(subject, "--subject", at_most=255),
            provider=entry,
            credential_type=entry.type,
            requested_scopes=scope or entry.default_scopes,
            needed_scopes=(scope or ()) if entry.type == "oauth2" else None,
            parameters=parameters,
            label=None if label is None else _given(label, "--label", at_most=200),
            metadata={},
            validate=validate,
        )
        return ConnectionView.of(await heart.intake.take(wanted, credentials))

    print_connection(with_heart(work, seals=True), as_json=as_json)


def update(
    connection_id: ConnectionId,
    label: Annotated[str | None, typer.Option(help="For people; empty: none.")] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Switch it on, or off: then it serves nobody.")
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            help="The connection to the same account that serves while this one has to be authorized again; "
            "empty: none.",
            metavar="con_…",
        ),
    ] = None,
    credential: Annotated[
        bool,
        typer.Option(
            "--credential", help="Give it another credential, read as by create; the old one stays till then."
        ),
    ] = False,
    allow_account_change: Annotated[
        bool, typer.Option("--allow-account-change", help="The new credential may be another account's.")
    ] = False,
    validate: Validate = True,
    as_json: Json = False,
) -> None:
    """Change a connection: all that is named, or nothing."""
    given = {"label": label, "status": enable, "fallback": fallback, "credentials": credential or None}
    names = frozenset(name for name, value in given.items() if value is not None)
    if not names:
        raise InvalidRequest("nothing is to be changed: name what", [])
    found = with_heart(lambda heart: existing_connection(heart, connection_id))
    change = Change(
        given=names,
        label=_given(label, "--label", at_most=200) if label else None,
        status=None if enable is None else "active" if enable else "disabled",
        fallback=fallback or None,
        credentials=read_credentials(_configured(found.provider)) if credential else {},
        validate=validate,
        allow_account_change=allow_account_change,
    )

    async def work(heart: Heart) -> ConnectionView:
        connection = await existing_connection(heart, connection_id)
        reach = Reach(connection.tenant, providers=None)
        changed = await heart.changes.apply(connection, change, reach=reach, client_id=None, request_id=None)
        return ConnectionView.of(changed)

    print_connection(with_heart(work, seals=True), as_json=as_json)


def _configured(name: str) -> Provider:
    """The entry ``name``. It is looked up before anybody is asked for a secret.

    :raises NotFound: there is none.
    """
    providers = configured_providers(load_settings())
    if name not in providers:
        raise NotFound(f"there is no provider {name!r}; there are: {', '.join(providers.names) or 'none'}")
    return providers.get(name)


def _given(text: str, option: str, *, at_most: int) -> str:
    """``text``, within the bounds that the API has.

    :raises InvalidRequest: it is not.
    """
    if 1 <= len(text) <= at_most:
        return text
    raise InvalidRequest("the command line is at fault", [FieldFault(option, f"must have 1 to {at_most} characters")])

"""``broker clients``: the programs that may call the broker."""

from typing import Annotated

import typer

from broker.app.heart import Heart
from broker.cli.output import Json, Yes, confirm, note, print_fields, print_json, print_table
from broker.cli.session import with_heart
from broker.downstream.api.views import ClientList, ClientView, CreatedClient, DeletedClient
from broker.errors import NotFound
from broker.models.access import DEFAULT_TENANT, Client

commands = typer.Typer(
    name="clients", help="Register the programs that may call the broker.", no_args_is_help=True, rich_markup_mode=None
)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="cl_…")]


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="Shown to people who are asked to connect an account.")],
    scope: Annotated[
        list[str], typer.Option(help='What it may do: client scopes, "connect …"; may be repeated.', metavar="SCOPES")
    ],
    return_url: Annotated[
        list[str] | None, typer.Option(help="Where browsers come back to; may be repeated.", metavar="URL")
    ] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="A provider it may use; may be repeated. Default: all.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant whose connections it sees.")] = DEFAULT_TENANT,
    completion: Annotated[
        str | None, typer.Option(help="'browser': connections may be completed by the browser alone.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Register a client. Its secret is shown now and never again."""

    async def work(heart: Heart) -> CreatedClient:
        client, secret = await heart.clients.create(
            name,
            scopes=" ".join(scope).split(),
            tenant=tenant,
            return_urls=return_url or (),
            providers=provider or None,
            known_providers=heart.providers.names,
            completions=(completion,) if completion else (),
        )
        return CreatedClient.made(client, secret)

    created = with_heart(work)
    if as_json:
        print_json(created)
        return
    print_fields({**_fields(created), "client secret": created.client_secret})
    note("The secret is not stored and can't be shown again.")


@commands.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only the clients of this tenant.")] = None,
    as_json: Json = False,
) -> None:
    """List the clients."""

    async def work(heart: Heart) -> ClientList:
        return ClientList(items=[ClientView.of(client) for client in await heart.clients.list(tenant)])

    found = with_heart(work)
    if as_json:
        print_json(found)
        return
    rows = [(client.client_id, client.name, client.tenant, client.scope) for client in found.items]
    print_table(["CLIENT ID", "NAME", "TENANT", "SCOPE"], rows)


@commands.command()
def show(client_id: ClientId, as_json: Json = False) -> None:
    """Show a client. Its secret is not stored."""

    async def work(heart: Heart) -> ClientView:
        return ClientView.of(await _existing(heart, client_id))

    client = with_heart(work)
    if as_json:
        print_json(client)
    else:
        print_fields(_fields(client))


@commands.command()
def delete(client_id: ClientId, yes: Yes = False, as_json: Json = False) -> None:
    """Remove a client. Its broker tokens stop working within seconds; connections stay."""
    confirm(f"Remove client {client_id}?", yes=yes)

    async def work(heart: Heart) -> DeletedClient:
        await heart.clients.delete(client_id)
        return DeletedClient(client_id=client_id, status="deleted")

    deleted = with_heart(work)
    if as_json:
        print_json(deleted)
    else:
        print(f"{deleted.client_id} is {deleted.status}")


async def _existing(heart: Heart, client_id: str) -> Client:
    client = await heart.clients.read(client_id)
    if client is None:
        raise NotFound("no such client")
    return client


def _fields(client: ClientView) -> dict[str, str | None]:
    return {
        "client id": client.client_id,
        "name": client.name,
        "tenant": client.tenant,
        "scope": client.scope,
        "return addresses": " ".join(client.return_urls),
        "providers": "all" if client.providers is None else " ".join(client.providers),
        "completions": " ".join(client.completions),
        "created at": client.created_at,
    }

"""``broker clients``: the programs that may call the broker."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from broker.access.clients import OVERLAP
from broker.app.heart import Heart
from broker.cli.output import Json, Yes, confirm, note, print_fields, print_json, print_table
from broker.cli.parameters import named_tenant
from broker.cli.proofs import keys_of, workloads_of
from broker.cli.session import with_heart
from broker.downstream.api.views import ClientList, ClientView, CreatedClient, DeletedClient, RotatedClient
from broker.errors import FieldFault, InvalidRequest, NotFound
from broker.models.access import CLIENT_SCOPES, CONNECTION_SCOPES, DEFAULT_TENANT, Client

commands = typer.Typer(
    name="clients", help="Register the programs that may call the broker.", no_args_is_help=True, rich_markup_mode=None
)

_SHOWN_ONCE: Final = "The secret is not stored and can't be shown again."

JwksFile = Annotated[
    Path | None, typer.Option(help="Its public keys: a JWK Set (RFC 7517), or one key.", metavar="FILE")
]
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
    tenant: Annotated[
        str, typer.Option(help="The tenant whose connections it sees.", callback=named_tenant)
    ] = DEFAULT_TENANT,
    completion: Annotated[
        str | None, typer.Option(help="'browser': connections may be completed by the browser alone.")
    ] = None,
    jwks_file: JwksFile = None,
    jwks_uri: Annotated[
        str | None, typer.Option(help="Where it publishes its public keys instead.", metavar="URL")
    ] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose platform tokens stand for it: issuer=…,subject=…,audience=…[,jwks_file=…]; may be repeated.",
            metavar="WORKLOAD",
        ),
    ] = None,
    device: Annotated[bool, typer.Option("--device", help="Machines may log in through it (broker login).")] = False,
    public: Annotated[
        bool, typer.Option("--public", help="It can't keep a secret, so it gets none; for programs on many machines.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="A request to providers' APIs that it may make through the proxy, and no others: 'GET /repos/*', "
            "'* /public/**'; may be repeated. Default: every request.",
            metavar="REQUEST",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Register a client. Its secret is shown now and never again; a public one, or one with keys or workloads, has
    none."""
    jwks = keys_of(jwks_file, "--jwks-file") if jwks_file else None
    workloads = workloads_of(workload or ())
    scopes = " ".join(scope).split()
    if public:
        _check_public(scopes, device=device)

    async def work(heart: Heart) -> CreatedClient:
        client, secret = await heart.clients.create(
            name,
            scopes=scopes,
            tenant=tenant,
            return_urls=return_url or (),
            providers=provider or None,
            known_providers=heart.providers.names,
            completions=(completion,) if completion else (),
            jwks=jwks,
            jwks_uri=jwks_uri,
            workloads=workloads,
            device=device,
            public=public,
            allow=allow or None,
        )
        return CreatedClient.made(client, secret)

    created = with_heart(work)
    if as_json:
        print_json(created)
    elif public:
        print_fields(_fields(created))
        note("It has no secret, and can only log machines in.")
    elif created.client_secret is None:
        print_fields(_fields(created))
        note("It has no secret: it proves itself with its keys, or by its platform.")
    else:
        print_fields({**_fields(created), "client secret": created.client_secret})
        note(_SHOWN_ONCE)


def _check_public(scopes: Sequence[str], *, device: bool) -> None:
    """Return if a public client could do something, and all that it is given.

    :raises InvalidRequest: it could not.
    """
    faults = []
    if not device:
        faults.append(FieldFault("--public", "has no secret, so all that it can do is log machines in: add --device"))
    if useless := [scope for scope in scopes if scope in CLIENT_SCOPES and scope not in CONNECTION_SCOPES]:
        can = " ".join(scope for scope in CLIENT_SCOPES if scope in CONNECTION_SCOPES)
        faults.append(FieldFault("--scope", f"a machine's login holds none of {' '.join(useless)}; it may hold: {can}"))
    if faults:
        raise InvalidRequest("the client can't be registered", faults)


@commands.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only the clients of this tenant.", callback=named_tenant)] = None,
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
def rotate(
    client_id: ClientId,
    overlap: Annotated[
        int | None,
        typer.Option(
            help="How long the present secret still works; 0: it may have leaked, broker tokens end as well. "
            f"Default: {OVERLAP}.",
            metavar="SECONDS",
        ),
    ] = None,
    jwks_file: JwksFile = None,
    as_json: Json = False,
) -> None:
    """Give a client a new secret, shown now and never again; the present one works on for a while.

    A client with registered keys, its own or its platform's, gets those of --jwks-file instead, within seconds: let the
    file hold old and new ones while its programs move.
    """
    if jwks_file:
        if overlap:
            fault = FieldFault("--overlap", "keys are replaced whole; 0 ends the client's broker tokens as well")
            raise InvalidRequest("the keys can't be replaced", [fault])
        _rotate_keys(client_id, keys_of(jwks_file, "--jwks-file"), end_tokens=overlap == 0, as_json=as_json)
        return
    seconds = OVERLAP if overlap is None else overlap

    async def work(heart: Heart) -> RotatedClient | ClientView:
        client = await _existing(heart, client_id)
        if client.secret_digests or seconds:
            return RotatedClient.of(await heart.clients.rotate(client_id, overlap=seconds))
        await heart.clients.end_tokens(client_id)
        return ClientView.of(client)

    rotated = with_heart(work)
    if isinstance(rotated, ClientView):
        if as_json:
            print_json(rotated)
        note(f"{client_id} has no secret that could be replaced. All its broker tokens have ended.")
        return
    if as_json:
        print_json(rotated)
        return
    ends_at = rotated.previous_secret_ends_at
    shown = {"client id": rotated.client_id, "client secret": rotated.client_secret}
    print_fields({**shown, "previous secret ends at": ends_at})
    note(_SHOWN_ONCE if ends_at else f"{_SHOWN_ONCE} The previous one and all broker tokens work no longer.")


def _rotate_keys(client_id: str, jwks: Mapping[str, Any], *, end_tokens: bool, as_json: bool) -> None:
    async def work(heart: Heart) -> ClientView:
        return ClientView.of(await heart.clients.replace_keys(client_id, jwks, end_tokens=end_tokens))

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
        "proves itself by": " ".join(client.authentication),
        "logs machines in": "yes" if client.device else "no",
        **_sometimes(client),
    }


def _sometimes(client: ClientView) -> dict[str, str | None]:
    """What only some clients have."""
    fields: dict[str, str | None] = {}
    if client.allow is not None:
        fields["may only request"] = ", ".join(client.allow)
    if client.previous_secret_ends_at:
        fields["previous secret ends at"] = client.previous_secret_ends_at
    if client.jwks_uri:
        fields["keys are published at"] = client.jwks_uri
    if client.key_ids:
        fields["key ids"] = " ".join(client.key_ids)
    for number, workload in enumerate(client.workloads, start=1):
        fields[f"workload {number}"] = f"{workload.subject} of {workload.issuer} for {workload.audience}"
    return fields

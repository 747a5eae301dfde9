"""``broker devices``: which machines are logged in, and logging them out."""

from typing import Annotated

import typer

from broker.app.heart import Heart
from broker.cli.one_connection import existing_connection
from broker.cli.output import Json, Yes, confirm, note, print_json, print_table
from broker.cli.parameters import named_tenant
from broker.cli.session import with_heart
from broker.downstream.api.views import DeviceSessionList, DeviceSessionView, EndedDeviceSession
from broker.errors import NotFound
from broker.models.access import DEFAULT_TENANT
from broker.models.connection import Connection, Status

commands = typer.Typer(
    name="devices", help="See which machines are logged in, and log them out.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip

ConnectionId = Annotated[str, typer.Argument(metavar="CONNECTION_ID", help="con_…")]

_PAGE = 200


@commands.command("list")
def list_(
    connection: Annotated[str | None, typer.Option(help="Only with this connection.", metavar="con_…")] = None,
    subject: Annotated[str | None, typer.Option(help="Only with this subject's connections.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only with connections at this provider.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose connections.", callback=named_tenant)] = DEFAULT_TENANT,
    as_json: Json = False,
) -> None:
    """List the machines that are logged in."""

    def wanted(found: Connection) -> bool:
        return provider in {None, found.provider} and found.status is not Status.REVOKED

    async def work(heart: Heart) -> DeviceSessionList:
        if connection is not None:
            ids = [(await existing_connection(heart, connection)).id]
        else:
            ids, cursor = [], None
            while True:
                page, cursor = await heart.directory.page(
                    tenant, subject=subject, wanted=wanted, cursor=cursor, limit=_PAGE
                )
                ids += [found.id for found in page]
                if cursor is None:
                    break
        sessions = [session for one in ids for session in await heart.devices.life.sessions(one)]
        return DeviceSessionList(items=[DeviceSessionView.of(session) for session in sessions])

    found = with_heart(work)
    if as_json:
        print_json(found)
        return
    rows = [(d.id, d.device_name or "", d.address, d.connection_id, d.last_used_at or "") for d in found.items]
    print_table(["DEVICE SESSION", "CALLS ITSELF", "ADDRESS", "CONNECTION", "LAST USED"], rows)


@commands.command()
def end(
    connection_id: ConnectionId,
    device_session: Annotated[str, typer.Argument(metavar="DEVICE_SESSION", help="ds_…")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Log a machine out. Its tokens stop working within seconds."""
    confirm(f"Log {device_session} out?", yes=yes)

    async def work(heart: Heart) -> EndedDeviceSession:
        connection = await existing_connection(heart, connection_id)
        session = await heart.devices.life.session(connection.id, device_session)
        if not await heart.devices.life.end(session, client_id=None, request_id=None):
            raise NotFound("no such device session")
        return EndedDeviceSession(id=session.id, status="ended")

    ended = with_heart(work)
    if as_json:
        print_json(ended)
    else:
        note(f"{ended.id} is logged out.")

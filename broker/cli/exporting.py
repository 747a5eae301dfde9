"""``broker connections export``: every connection with its credential, sealed to a key that the operator gives.

Exit codes: 0 done; 1 not all is in the file, or there is no file; 2 the options are at fault; 3 the store is away; 130
or 143 interrupted. Without a file, what was switched off is on again.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from pydantic import BaseModel

from broker.app.heart import Heart
from broker.cli.export_undo import cancelled_by, undo_broken_off, undo_export, undo_own
from broker.cli.faults import EXIT_REFUSED
from broker.cli.output import Json, Yes, note, print_fields, print_json
from broker.cli.parameters import named_tenant
from broker.cli.private_file import new_private_file
from broker.cli.progress import how_far
from broker.cli.session import with_heart
from broker.connections.moving.exporting import Exported, Exporting, Selection, Write
from broker.connections.moving.recipients import LONGEST, RecipientKey, UnusableKey, read_public_key
from broker.connections.moving.sealed_file import Sealer
from broker.connections.moving.switching_off import SwitchingOff
from broker.errors import Conflict, FieldFault, InvalidRequest, StoreUnavailable
from broker.models.connection import Status
from broker.models.ids import new_id


class SkippedView(BaseModel):
    """A connection that is not in the file, or not as it is now."""

    id: str
    reason: str


class ExportView(BaseModel):
    """What came of an export."""

    file: str
    export: str
    """Its id, which stands in the audit events and in the file."""
    recipient: str
    """The thumbprint (RFC 7638) of the key that opens it."""
    connections: int
    skipped: list[SkippedView]
    switched_off: int
    """How many were switched off here, and are active in the file."""
    running: int
    """How many broker processes were at work meanwhile."""


def export(
    file: Annotated[str | None, typer.Argument(help="The file to make; - is standard output.", metavar="FILE")] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The public key of whom it is for: PEM or JWK.", metavar="PUBLIC_KEY")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Only this tenant's. Default: every tenant's.", callback=named_tenant)
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Only those at this provider.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this subject's.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those with this status.")] = None,
    switch_off: Annotated[
        bool,
        typer.Option(
            "--switch-off", help="Switch each off here, so that only the other broker refreshes it from now on."
        ),
    ] = False,
    undo: Annotated[
        str | None, typer.Option("--undo", help="Switch on again what an export switched off.", metavar="EXPORT")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Write connections, with their credentials, into a file that only the holder of a private key can read.

    Another broker takes it in with: broker connections import FILE --key PRIVATE_KEY
    """
    if undo is not None:
        undo_export(undo, yes=yes, as_json=as_json)
        return
    missing = [FieldFault(name, "required, or --undo") for name, given in (("FILE", file), ("--to", to)) if not given]
    if file is None or to is None or missing:
        raise InvalidRequest("nothing is to be done", missing)
    if status is Status.REVOKED:
        raise InvalidRequest("of disconnected connections nothing is left to export")
    recipient = read_public_key(_read(to))
    selection = Selection(tenant, provider, subject, status)
    with how_far() as tell:

        async def work(heart: Heart) -> ExportView:
            await undo_broken_off(heart)
            running = await heart.replicas.serving()
            sealer = Sealer(
                recipient, export_id=new_id("exp"), broker=heart.settings.public_url, created_at=heart.clock()
            )
            async with _switching_off(heart, sealer.export_id, file, wanted=switch_off) as switching_off:
                with _opened(file) as out:
                    done = await _exporting(heart, switching_off).export(
                        selection, sealer, _writer(out), tell, recipient=recipient.thumbprint
                    )
            switched_off = switching_off.count if switching_off else 0
            return _view_of(file, sealer, recipient, done, switched_off=switched_off, running=running)

        view = with_heart(work)
    _print(view, as_json=as_json, to_stdout=file == "-", switch_off=switch_off)
    if view.skipped:
        raise typer.Exit(EXIT_REFUSED)


@asynccontextmanager
async def _switching_off(
    heart: Heart, export_id: str, file: str, *, wanted: bool
) -> AsyncIterator[SwitchingOff | None]:
    """What switches off; if the block makes no file, all of it is on again when this ends."""
    if not wanted:
        yield None
        return
    switching_off = SwitchingOff(heart.store, heart.records, heart.leases, heart.changes, heart.clock, export_id)
    signals: list[int] = []
    async with switching_off.going_on():
        note(f"{export_id}: if it is broken off, the next export switches its connections on again; --undo does, too")
        try:
            with cancelled_by(signals):
                yield switching_off
        except BaseException:
            if file == "-" and switching_off.left:
                note("The end may have been read: what was switched off stays so.")
                note(f"If nobody has the export: broker connections export --undo {export_id}")
            else:
                await undo_own(heart, switching_off)
            if signals:
                raise typer.Exit(128 + signals[0]) from None
            raise
        # It is there, whether that can be noted now or not; a signal comes too late.
        with suppress(StoreUnavailable, asyncio.CancelledError):
            await switching_off.done()


def _writer(out: BinaryIO) -> Write:
    def write(line: bytes) -> None:
        try:
            out.write(line)
            # Whether it can be written has to be known before the last line makes it whole.
            out.flush()
        except OSError as error:
            raise Conflict(f"the file can't be written: {error.strerror}") from None

    return write


def _exporting(heart: Heart, switching_off: SwitchingOff | None) -> Exporting:
    parts = (heart.store, heart.records, heart.parked, heart.journal, heart.bookkeeping, heart.clock)
    return Exporting(*parts, switching_off)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise UnusableKey("--to", f"can't be read: {error.strerror}") from None


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        try:
            # A writer of its own: what nobody reads any more is not tried once again when the process ends.
            with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
                yield out
        except OSError as error:
            raise Conflict(f"the file can't be written: {error.strerror}") from None
        return
    with new_private_file(Path(file)) as out:
        yield out


def _view_of(
    file: str, sealer: Sealer, recipient: RecipientKey, done: Exported, *, switched_off: int, running: int
) -> ExportView:
    return ExportView(
        file=file,
        export=sealer.export_id,
        recipient=recipient.thumbprint,
        connections=len(done.generations),
        skipped=[SkippedView(id=each.id, reason=each.reason) for each in done.skipped],
        switched_off=switched_off,
        running=running,
    )


def _print(view: ExportView, *, as_json: bool, to_stdout: bool, switch_off: bool) -> None:
    if to_stdout:
        note(f"{view.connections} connections exported ({view.export})")
    elif as_json:
        print_json(view)
    else:
        print_fields(
            {
                "file": view.file,
                "export": view.export,
                "opened with": view.recipient,
                "connections": str(view.connections),
                "switched off": str(view.switched_off),
                "skipped": str(len(view.skipped)),
            }
        )
    for each in view.skipped:
        note(f"not to be relied upon: {each.id}: {each.reason}")
    if view.running and not switch_off:
        note(f"A broker runs here ({view.running} processes): what it refreshes from now on is newer than the file,")
        note("and two brokers that refresh one connection may end it. Stop it, export, then start the other.")

"""``broker connections import``: connections that another system holds, taken in by the batch, and taken back.

Exit codes: 0 done, or it was before; 1 refused: nothing of it is there; 2 the file or the options are at fault;
3 paused: a provider or the store is away; 130 or 143 interrupted. After 3, 130 and 143 the same command goes on.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.app.heart import Heart
from broker.cli import import_report
from broker.cli.faults import EXIT_REFUSED, EXIT_UNAVAILABLE
from broker.cli.import_file import ImportFile, opened
from broker.cli.import_ids import TellIds, ids_file
from broker.cli.output import Json, Yes, confirm, note, print_fields, print_json, print_table
from broker.cli.parameters import named_tenant
from broker.cli.progress import how_far
from broker.cli.session import configured_providers, with_heart
from broker.cli.signals import first_signal
from broker.clock import rfc3339
from broker.connections.moving.formats import FORMATS, ReadOptions, columns_of, providers_of, reader
from broker.connections.moving.order import Existing, Imported, Order, Report, Stop
from broker.connections.moving.recipients import LONGEST, UnusableKey, needs_passphrase
from broker.connections.moving.renewing import Renewed, renew
from broker.connections.moving.rollback import NAMED, Changed, RolledBack
from broker.connections.moving.row import Row, RowFault
from broker.errors import FieldFault, InvalidRequest
from broker.settings import load_settings
from broker.vault.batches import Batch

_BEFORE: Final = frozenset({"staging", "refusing", "securing"})
"""The states of a batch that is nobody's yet."""


def import_(
    file: Annotated[str | None, typer.Argument(help="The file; - is standard input.", metavar="FILE")] = None,
    provider: Annotated[str, typer.Option(help="The provider of rows that name none.")] = "",
    tenant: Annotated[
        str | None,
        typer.Option(
            help="Whose they become. Default: the default tenant's; those of an export keep theirs.",
            callback=named_tenant,
        ),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(FORMATS)}. Default: told by how the file begins.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--map", help="A column and what it is; may be repeated.", metavar="FIELD=COLUMN"),
    ] = None,
    map_provider: Annotated[
        list[str] | None,
        typer.Option(
            help="A provider as the file calls it, and the entry here; may be repeated.", metavar="THEIRS=OURS"
        ),
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The private key that an export was sealed to.")] = None,
    existing: Annotated[
        str, typer.Option(help="Where a subject has a connection at the provider already: refuse, skip or add.")
    ] = "refuse",
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Try each credential at its provider first.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all of it but storing.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="When all are there, refresh each once.")] = False,
    ids: Annotated[
        Path | None,
        typer.Option(help="Write which row became which connection: a new file, CSV, or JSON Lines (.jsonl)."),
    ] = None,
    rollback: Annotated[str | None, typer.Option(help="Take an import back.", metavar="BATCH")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take it back though connections have got new credentials since.")
    ] = False,
    batches: Annotated[bool, typer.Option("--batches", help="List the imports.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take connections in from a file: all of it, or nothing. Broken off, it goes on when it is run again.

    No refresh token is spent: a row whose access token is over is taken in without a test, and counted.
    """
    if batches:
        _list_batches(as_json=as_json)
        return
    if rollback is not None:
        _roll_back(rollback, force=force, yes=yes, as_json=as_json)
        return
    if file is None:
        raise InvalidRequest("nothing is to be done", [FieldFault("FILE", "required, or --rollback, or --batches")])
    if existing not in {"refuse", "skip", "add"}:
        raise InvalidRequest("the command line is at fault", [FieldFault("--existing", "refuse, skip or add")])
    options = ReadOptions(
        provider=provider,
        columns=columns_of(column or []),
        providers=providers_of(map_provider or []),
        entries=configured_providers(load_settings()),
        **_key_of(key),
    )
    with ids_file(ids) as tell_ids, opened(file) as source:
        order = _order(source, options, tenant, format_, existing, verify=verify, dry_run=dry_run)
        code = _import(source, options, order, format_, tell_ids, refresh=refresh, as_json=as_json)
    if code:
        raise typer.Exit(code)


def _order(
    source: ImportFile,
    options: ReadOptions,
    tenant: str | None,
    format_: str | None,
    existing: str,
    *,
    verify: bool,
    dry_run: bool,
) -> Order:
    # What decides what the file means; how it is tested and stored may change from one run to the next.
    meaning = {
        "tenant": tenant,
        "provider": options.provider,
        "format": format_,
        "columns": dict(options.columns),
        "providers": dict(options.providers),
    }
    policy: Existing = "skip" if existing == "skip" else "add" if existing == "add" else "refuse"
    return Order(source.fingerprint(meaning), source.name, tenant, verify, policy, dry_run)


def _import(
    source: ImportFile,
    options: ReadOptions,
    order: Order,
    format_: str | None,
    tell_ids: TellIds | None,
    *,
    refresh: bool,
    as_json: bool,
) -> int:
    """Do it; answers the exit code."""
    reading = reader(format_, source.head)
    # Options that don't fit are refused before anything is begun, and before half a document is printed.
    reading.read(source.file, options)
    signals: list[int] = []

    def rows() -> Iterator[Row | RowFault]:
        return source.rows(reading, options)

    async def work(heart: Heart) -> tuple[Report, Renewed | None]:
        moving = heart.moving
        stop = Stop()
        with how_far() as tell, first_signal(signals, stop.set, words="Ending; what is under way is finished first."):
            report = await moving.imports.run(order, rows, tell, stop)
            batch = await moving.batches.read(report.batch) if report.batch and report.state == "done" else None

            def listed() -> Iterator[Imported]:
                return moving.imports.listed(report, order, rows, batch) if batch else iter(())

            renewed = None
            if refresh and batch is not None:
                made = (one.connection_id for one in listed())
                renewed = await renew(heart.lifecycle, heart.records, heart.turns, heart.providers, made, tell, stop)
        if tell_ids is not None and batch is not None:
            tell_ids(listed())
        if as_json:
            import_report.print_document(report, listed(), renewed)
        else:
            import_report.print_summary(report, renewed, verify=order.verify)
        return report, renewed

    report, renewed = with_heart(work, seals=True)
    return _exit_code(report, renewed, signals)


def _exit_code(report: Report, renewed: Renewed | None, signals: list[int]) -> int:
    if report.state == "refused":
        return EXIT_REFUSED
    if report.state == "paused":
        return 128 + signals[0] if signals else EXIT_UNAVAILABLE
    return EXIT_REFUSED if renewed and renewed.failed else 0


def _key_of(path: Path | None) -> dict[str, bytes | None]:
    """The private key and its passphrase, which is asked for at a terminal, and never stands on the command line."""
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            private_key = file.read(LONGEST + 1)
    except OSError as error:
        raise UnusableKey("--key", f"can't be read: {error.strerror}") from None
    if not needs_passphrase(private_key) or not sys.stdin.isatty():
        return {"private_key": private_key}
    passphrase = typer.prompt("Passphrase of the private key", hide_input=True, err=True)
    return {"private_key": private_key, "passphrase": passphrase.encode()}


def _roll_back(batch_id: str, *, force: bool, yes: bool, as_json: bool) -> None:
    question = f"Take {batch_id} back? Its connections are erased here, and not revoked at their providers."
    if force:
        question += " Those that were refreshed since are lost: their refresh tokens exist nowhere else."
    # Without --force nothing is lost: the file is still there.
    confirm(question, yes=yes, believed=not force)

    async def work(heart: Heart) -> RolledBack:
        with how_far() as tell:
            return await heart.moving.rollbacks.roll_back(batch_id, tell, force=force)

    try:
        done = with_heart(work)
    except Changed as error:
        if as_json:
            print_json({"state": "refused", "changed": list(error.connection_ids), "message": error.detail})
        for connection_id in error.connection_ids:
            note(f"changed since: {connection_id}")
        raise
    names = ("batch", "removed", "forced", "amended", "ended")
    shown = {name: getattr(done, name) for name in names}
    if as_json:
        print_json({"state": "rolled_back", **shown, "kept": list(done.kept)})
    else:
        print_fields({**{name: str(each) for name, each in shown.items()}, "kept": str(len(done.kept))})
    for connection_id in done.kept[:NAMED]:
        note(f"refreshed meanwhile, and kept: {connection_id}")
    if done.kept:
        raise typer.Exit(EXIT_REFUSED)


def _list_batches(*, as_json: bool) -> None:
    async def work(heart: Heart) -> list[Batch]:
        return await heart.moving.batches.all()

    found = with_heart(work)
    if as_json:
        items = [
            {
                "batch": batch.id,
                "state": _shown_state(batch),
                "created_at": rfc3339(batch.created_at),
                "file": batch.file,
                "tenant": batch.tenant,
                "rows": batch.rows,
                "skipped": batch.skipped,
                "unverified": batch.unverified,
                "lacking": batch.lacking,
            }
            for batch in found
        ]
        print_json({"items": items})
        return
    rows = [(batch.id, _shown_state(batch), rfc3339(batch.created_at), batch.file, str(batch.rows)) for batch in found]
    print_table(["IMPORT", "STATE", "BEGUN", "FILE", "ROWS"], rows)


def _shown_state(batch: Batch) -> str:
    return "paused" if batch.state in _BEFORE else batch.state

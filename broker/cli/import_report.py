"""What ``broker connections import`` says: a summary for people, one document for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from broker.cli.output import note, print_fields
from broker.clock import rfc3339
from broker.connections.moving.order import Imported, Report
from broker.connections.moving.renewing import Renewed
from broker.connections.moving.row import Remedy, RowFault

_LINES: Final = 20
"""Lines of faults that people are told, equal ones in one; the document has all that were found, by the row."""
_ROWS: Final = 3
"""Rows that such a line names."""
_WHOLE: Final = {"FILE", "--key"}
"""What a fault names that is no row's, and that nobody can mend in the file."""
_REMEDIES: Final[Mapping[Remedy, str]] = {
    "no-verify": "Credentials that their provider refuses: --no-verify takes them in as they are, and a test shows.",
    "existing-skip": "Connections that are there already: --existing skip leaves them out.",
}
_MENDING: Final = " Mend what is named, and import it again."


def print_document(report: Report, listed: Iterable[Imported], renewed: Renewed | None) -> None:
    """One JSON document, a connection a line: there may be a million."""
    document: dict[str, Any] = {
        "batch": report.batch,
        "state": report.state,
        "already": report.already,
        "why": report.why,
        "again_at": None if report.again_at is None else rfc3339(report.again_at),
        "rows": report.rows,
        "imported": report.imported,
        "skipped": report.skipped,
        "unverified": report.unverified,
        "lacking": report.lacking,
        "faults": [
            {"row": fault.number, "source_id": fault.source_id, "field": fault.field, "message": fault.message}
            for fault in report.faults
        ],
        "refreshed": None if renewed is None else asdict(renewed),
    }
    print(json.dumps(document, indent=2).removesuffix("\n}") + ',\n  "connections": [', end="")
    separator = "\n"
    for one in listed:
        print(f"{separator}    {json.dumps(asdict(one))}", end="")
        separator = ",\n"
    print("\n  ]\n}")


def print_summary(report: Report, renewed: Renewed | None, *, verify: bool) -> None:
    """For people."""
    done = report.state == "done"
    print_fields(
        {
            "import": report.batch,
            "state": f"{report.state} (it was before; nothing was changed)" if report.already else report.state,
            "rows": str(report.rows),
            **({"imported": str(report.imported)} if done else {}),
            **({"left out": str(report.skipped)} if report.skipped else {}),
            **({"not verified": str(report.unverified)} if report.state != "refused" and report.rows else {}),
            **({"lacking scopes": str(report.lacking)} if report.lacking else {}),
            **({"refreshed": f"{renewed.refreshed}, failed: {len(renewed.failed)}"} if renewed else {}),
        }
    )
    _print_faults(report.faults)
    for failure in renewed.failed[:_LINES] if renewed else ():
        note(f"not refreshed: {failure.connection_id}: {failure.reason}")
    _advise(report, verify=verify)


def _time_of_day(moment: int) -> str:
    """As the clock on the person's wall has it."""
    return datetime.fromtimestamp(moment / 1000, UTC).astimezone().strftime("%H:%M:%S")


def _print_faults(faults: Sequence[RowFault]) -> None:
    """Equal ones in one line: a mistake that is made in the whole file is one."""
    alike: dict[tuple[str, str], list[RowFault]] = {}
    for fault in faults:
        alike.setdefault((fault.field, fault.message), []).append(fault)
    for (field, message), several in islice(alike.items(), _LINES):
        rows = ", ".join(map(_row, several[:_ROWS]))
        more = f" and {len(several) - _ROWS} more" if len(several) > _ROWS else ""
        note(": ".join(part for part in (f"row {rows}{more}", field, message) if part))
    if len(alike) > _LINES:
        left = sum(len(several) for several in islice(alike.values(), _LINES, None))
        note(f"and {left} more (--json says all)")


def _row(fault: RowFault) -> str:
    return str(fault.number) if fault.source_id is None else f"{fault.number} ({fault.source_id})"


def _advise(report: Report, *, verify: bool) -> None:
    match report.state:
        case "refused":
            note(
                "Nothing of the file was taken in."
                + _MENDING * any(fault.field not in _WHOLE for fault in report.faults)
            )
            remedies = {fault.remedy for fault in report.faults}
            for words in (words for remedy, words in _REMEDIES.items() if remedy in remedies):
                note(words)
        case "paused":
            again = "" if report.again_at is None else f", again after {_time_of_day(report.again_at)}"
            note(f"Not finished: {report.why}. The same command goes on where it was{again}.")
            if report.batch:
                note(f"To give it up: broker connections import --rollback {report.batch}")
        case "done" if report.batch and not report.already:
            note(f"To take it back: broker connections import --rollback {report.batch}")
        case "checked" if report.unverified and verify:
            note("Those that are not verified have no access token that lives; only a refresh could tell, and that is")
            note("left to their first use. An import spends no refresh token.")
        case _:
            pass

"""What ``broker connections import`` says: a summary for people, one document for programs."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from broker.cli.output import note, print_fields
from broker.connections.moving.order import Imported, Report
from broker.connections.moving.renewing import Renewed

_NAMED: Final = 20
"""Faults that people are told; the document has all that were found."""


def print_document(report: Report, listed: Iterable[Imported], renewed: Renewed | None) -> None:
    """One JSON document, a connection a line: there may be a million."""
    document: dict[str, Any] = {
        "batch": report.batch,
        "state": report.state,
        "already": report.already,
        "why": report.why,
        "rows": report.rows,
        "imported": report.imported,
        "skipped": report.skipped,
        "unverified": report.unverified,
        "faults": [{"row": fault.number, "field": fault.field, "message": fault.message} for fault in report.faults],
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
            **({"refreshed": f"{renewed.refreshed}, failed: {len(renewed.failed)}"} if renewed else {}),
        }
    )
    for fault in report.faults[:_NAMED]:
        note(": ".join(part for part in (f"row {fault.number}", fault.field, fault.message) if part))
    if len(report.faults) > _NAMED:
        note(f"and {len(report.faults) - _NAMED} more (--json says all)")
    for failure in renewed.failed[:_NAMED] if renewed else ():
        note(f"not refreshed: {failure.connection_id}: {failure.reason}")
    _advise(report, verify=verify)


def _advise(report: Report, *, verify: bool) -> None:
    match report.state:
        case "refused":
            note("Nothing of the file was taken in. Mend what is named, and import it again.")
        case "paused":
            note(f"Not finished: {report.why}. The same command goes on where it was.")
            if report.batch:
                note(f"To give it up: broker connections import --rollback {report.batch}")
        case "done" if report.batch and not report.already:
            note(f"To take it back: broker connections import --rollback {report.batch}")
        case "checked" if report.unverified and verify:
            note("Those that are not verified have no access token that lives; only a refresh could tell, and that is")
            note("left to their first use. An import spends no refresh token.")
        case _:
            pass

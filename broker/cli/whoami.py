"""``broker whoami``: which accounts this machine is logged in with, at which broker, and whether that still holds."""

from typing import Any, Final

import typer

from broker.cli.credentials import Login
from broker.cli.faults import EXIT_NOT_LOGGED_IN, NotLoggedIn
from broker.cli.headless import Headless, headless
from broker.cli.output import Json, note, print_json, print_table
from broker.clock import rfc3339
from broker.errors import Forbidden

commands = typer.Typer()

_ENDED: Final = "ended"
_UNKNOWN: Final = "unknown"
"""The client was not given ``connections:read``, so it may not look at the connection; or the OS keyring is locked."""


@commands.command()
def whoami(as_json: Json = False) -> None:
    """Show this machine's logins. Asks the broker, and says where a login has ended."""
    with headless() as at:
        url, elsewhere = at.broker.url, {login.url for login in at.credentials.logins()}
        seen = [_seen(at, login) for login in at.machine.logins()]
    if as_json:
        print_json({"broker": url, "logins": seen})
    elif seen:
        print_table(
            ("CONNECTION", "PROVIDER", "ACCOUNT", "STATUS", "SINCE", "SCOPES"),
            [
                (
                    one["connection_id"],
                    one["provider"],
                    (one["account"] or {}).get("name"),
                    one["status"],
                    str(one["logged_in_at"])[:16],
                    " ".join(one["scopes"]),
                )
                for one in seen
            ],
        )
        note(f"at {url}")
    for other in sorted(elsewhere - {url}):
        note(f"also logged in at {other}: BROKER_URL={other} broker whoami")
    if all(one["status"] == _ENDED for one in seen):
        if not seen:
            raise NotLoggedIn(f"not logged in at {url}; log in: broker login PROVIDER")
        raise typer.Exit(EXIT_NOT_LOGGED_IN)


def _seen(at: Headless, login: Login) -> dict[str, Any]:
    """What the broker says about a login; one that has ended is forgotten after it was shown once."""
    connection: dict[str, Any] = {}
    try:
        connection = at.machine.connection(login)
        status = connection["status"]
    except NotLoggedIn as error:
        note(error.detail)
        # It is kept where only the keyring doesn't give it away.
        status = _UNKNOWN if login in at.machine.logins() else _ENDED
    except Forbidden:
        status = _UNKNOWN
    account = connection.get("account") or ({"id": None, "name": login.account} if login.account else None)
    return {
        "provider": login.provider,
        "connection_id": login.connection_id,
        "account": account,
        "scopes": connection.get("scopes", []),
        "status": status,
        "logged_in_at": rfc3339(int(login.logged_in_at * 1000)),
    }

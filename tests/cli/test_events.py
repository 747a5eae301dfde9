"""``broker events``."""

from collections.abc import Callable

from broker.models.connection import Connection
from tests.cli.conftest import Cli


def test_what_happened_is_shown_newest_first(cli: Cli, make_connection: Callable[..., Connection]) -> None:
    """The record of the tenant, or of one connection, has what was done by the command before."""
    first, second = make_connection(), make_connection()
    foreign = make_connection(tenant="acme")
    cli("connections", "delete", first.id)

    def shown(*flags: str) -> list[tuple[str, str]]:
        items = cli("events", "--json", *flags).json["items"]
        return [(item["type"], item["connection_id"]) for item in items]

    made, ended, settled = "connection.created", "connection.revoked", "revocation.settled"
    assert shown() == [(settled, first.id), (ended, first.id), (made, second.id), (made, first.id)]
    assert shown("--connection", first.id) == [(settled, first.id), (ended, first.id), (made, first.id)]
    assert shown("--limit", "1") == [(settled, first.id)]
    assert shown("--connection", foreign.id) == [(made, foreign.id)]
    table = cli("events", "--connection", first.id).stdout
    assert ended in table
    assert second.id not in table


def test_one_type_is_shown_alone_and_looked_for_behind_others(
    cli: Cli, make_connection: Callable[..., Connection]
) -> None:
    """``--type`` leaves the others out; a page that has none of it is passed over."""
    first, second = make_connection(), make_connection()
    for connection in (first, second):
        cli("connections", "delete", connection.id)

    def shown(*flags: str) -> list[str]:
        return [item["connection_id"] for item in cli("events", "--json", *flags).json["items"]]

    assert shown("--type", "connection.created") == [second.id, first.id]
    assert shown("--type", "connection.created", "--limit", "1") == [second.id]
    assert shown("--type", "connection.created", "--connection", first.id) == [first.id]
    assert shown("--type", "nothing.such") == []


def test_a_cut_record_goes_on_at_its_cursor(cli: Cli, make_connection: Callable[..., Connection]) -> None:
    """``--cursor`` continues where ``--limit`` cut."""
    make_connection()
    make_connection()
    page = cli("events", "--limit", "1", "--json").json
    rest = cli("events", "--cursor", page["next_cursor"], "--json").json["items"]
    assert len(rest) == 1
    assert rest[0]["id"] != page["items"][0]["id"]
    assert f"--cursor {page['next_cursor']}" in cli("events", "--limit", "1").stderr


def test_an_unknown_connection_has_no_record(cli: Cli) -> None:
    """It ends with 1; a cursor that is none with 2."""
    assert cli("events", "--connection", "con_" + "0" * 22).exit_code == 1
    assert cli("events", "--cursor", "nonsense").exit_code == 2

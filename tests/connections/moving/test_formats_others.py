"""Exports of other systems, as their documentation shows them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.connections.moving.formats import FORMATS
from broker.connections.moving.row import Row, RowFault
from broker.providers import Registry
from tests.connections.moving.reading import SAMPLES, faults, read, rows, sample
from tests.connections.moving.sealing import OURS

THEIRS = {"theirs": "practice", "practice-prod": "practice-realms"}


def test_nango_connections(providers: Registry) -> None:
    """OAuth tokens, keys, passwords and installations are taken; of its configuration what the entry asks for."""
    found = read(sample("nango.json"), providers=THEIRS, entries=providers)
    oauth, key, basic, app, *refused = found
    assert oauth == Row(
        number=1,
        provider="practice-realms",
        subject="ann",
        credentials={
            "access_token": "at-canary-1",
            "refresh_token": "rt-canary-1",
            "expires_at": "2030-03-08T09:43:03.725Z",
            "scope": "profile,messages.read",
        },
        parameters={"realm": "whoami"},
        label="Ann",
        metadata={"filter": "closed=true"},
        created_at=1_709_890_983_725,
        source_id="8ad1-42",
    )
    assert isinstance(key, Row)
    assert isinstance(basic, Row)
    assert isinstance(app, Row)
    assert (key.credentials, key.subject) == ({"api_key": "key-canary-2"}, "8ad1-43")
    assert basic.credentials == {"username": "cleo@practice.example", "password": "pw-canary-3"}
    assert app.credentials == {"installation_id": "1001"}
    assert [(fault.number, fault.field) for fault in refused if isinstance(fault, RowFault)] == [
        (5, "credentials.type"),
        (6, "credentials.refresh_token"),
        (7, "credentials"),
    ]
    assert "OAUTH1" in str(refused[0])
    assert "refresh_token=true" in str(refused[1])


def test_authjs_accounts() -> None:
    """Of the table, whichever way its columns are spelled; accounts without a provider's tokens are named."""
    for name, source in (("authjs.csv", "cl1"), ("authjs.jsonl", "65e1")):
        first, second, *refused = read(sample(name), providers=THEIRS)
        assert isinstance(first, Row)
        assert isinstance(second, Row)
        end = "1900000000"
        assert first.credentials == {
            "access_token": "at-canary-1",
            "refresh_token": "rt-canary-1",
            "expires_at": end,
            "scope": "profile messages.read",
        }
        assert (first.provider, first.subject, first.account_id) == ("practice", "user-ann", "1001")
        assert first.source_id == source
        assert (second.provider, second.account_id) == ("practice-two", "1002")
        assert second.credentials == {"access_token": "at-canary-2"}
        named = [(fault.number, fault.field) for fault in refused if isinstance(fault, RowFault)]
        assert named == ([(4, "type"), (5, "access_token")] if name == "authjs.csv" else [(3, "token_type")])


def test_allauth_tokens() -> None:
    """A token and its account make a row, wherever in the dump the account stands; the app's secret is not read."""
    first, second, refused = read(sample("allauth.json"), providers=THEIRS)
    assert first == Row(
        number=2,
        provider="practice",
        subject="12",
        credentials={
            "access_token": "at-canary-1",
            "refresh_token": "rt-canary-1",
            "expires_at": "2030-03-08T09:43:03.725Z",
        },
        account_id="1001",
        account_name="alice@practice.example",
        created_at=1_709_890_983_000,
        source_id="5",
    )
    assert isinstance(second, Row)
    assert (second.subject, second.credentials, second.account_name) == ("bob", {"access_token": "at-canary-2"}, None)
    assert isinstance(refused, RowFault)
    assert (refused.number, refused.field) == (6, "fields.account")
    accounts = b"\n".join(line for line in sample("allauth.json").splitlines() if b"token" not in line)
    ((_, _, message),) = faults(accounts.replace(b'"{}"}},', b'"{}"}}'))
    assert "SOCIALACCOUNT_STORE_TOKENS" in message


@pytest.mark.parametrize("model", ["socialaccount.socialaccount", "socialaccount.socialtoken"])
@pytest.mark.parametrize("rest", [{}, {"fields": None}, {"fields": []}, {"pk": 1, "fields": {"user": {}}}])
def test_an_object_of_a_dump_that_lacks_what_it_should_say_is_named(model: str, rest: dict[str, object]) -> None:
    """A dump that somebody edited."""
    ((number, field, _),) = faults(json.dumps([{"model": model, **rest}]), name="django-allauth")
    assert number == 1
    assert field.startswith("fields")


def test_a_dump_may_be_lines() -> None:
    """``dumpdata --format jsonl``."""
    lines = b"\n".join(line.rstrip(b",") for line in sample("allauth.json").splitlines()[1:-1])
    assert [row.subject for row in read(lines) if isinstance(row, Row)] == ["12", "bob"]
    assert rows(b"[]", name="django-allauth") == []


def said_of(found: list[Row | RowFault]) -> str:
    """What faults say. The id is told as an id, whatever somebody has put there."""
    return str([(each.number, each.field, each.message) for each in found if isinstance(each, RowFault)])


FILES = sorted(path for path in SAMPLES.iterdir() if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_fault_repeats_what_stands_in_a_file(path: Path) -> None:
    """Cut off anywhere, with anything in the place of anything: rows or faults, and no secret in a fault."""  # G2

    @settings(deadline=None)
    @given(st.integers(0, path.stat().st_size), st.integers(0, path.stat().st_size), st.binary(max_size=30))
    def check(start: int, end: int, instead: bytes) -> None:
        content = path.read_bytes()
        for name in FORMATS:
            found = read(content[:start] + instead + content[max(start, end) :], name=name, private_key=OURS.private)
            assert "canary" not in said_of(found)

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("canary"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)
OBJECTS = {
    "jsonl": [json.loads(line) for line in sample("connections.jsonl").splitlines() if line],
    "nango": json.loads(sample("nango.json"))["connections"],
    "authjs": [json.loads(line) for line in sample("authjs.jsonl").splitlines()],
    "django-allauth": json.loads(sample("allauth.json")),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_whatever_stands_in_the_place_of_a_member_is_a_row_or_a_fault(name: str, providers: Registry) -> None:
    """Of any type, or missing, in any object of a file; a fault doesn't repeat it."""  # G2

    @settings(deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        objects = json.loads(json.dumps(OBJECTS[name]))
        target: Any = data.draw(st.sampled_from(objects))
        while True:
            member = data.draw(st.sampled_from(sorted(target)))
            if not (isinstance(target[member], dict) and target[member] and data.draw(st.booleans())):
                break
            target = target[member]
        target[member] = data.draw(JSON)
        if data.draw(st.booleans()):
            del target[member]
        found = read(json.dumps(objects), name=name, entries=providers)
        assert "canary" not in said_of(found)

    check()


@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_are_rows_or_faults(name: str) -> None:
    """Whatever somebody brings, nothing else comes of it."""

    @settings(deadline=None)
    @given(st.binary(max_size=300) | st.text(alphabet='{}[],:"\\ \n\t;abc01eyJ.', max_size=200).map(str.encode))
    def check(content: bytes) -> None:
        for each in read(content, name=name, private_key=OURS.private):
            assert isinstance(each, Row | RowFault)

    check()


@settings(deadline=None)
@given(
    st.lists(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=5), min_size=3, max_size=3), max_size=5)
)
def test_a_table_that_a_library_wrote_reads_back(cells: list[list[str]]) -> None:
    """Whatever characters the cells hold, each row is that row or a fault of that row."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([["provider", "subject", "metadata.note"], *cells])
    # A carriage return within quotes is kept, without them it would end the line: the library quotes it.
    found = read(out.getvalue(), name="csv", provider="p")
    assert all(isinstance(each, Row | RowFault) for each in found)
    notes = [row.metadata.get("note", "") for row in found if isinstance(row, Row)]
    written = [note if note.strip() else "" for _, subject, note in cells if subject.strip()]
    assert notes == written

"""JSON Lines and arrays: objects as ``POST /v1/connections`` takes them, and a little more."""

import io
import json
import tracemalloc
from typing import Any

import pytest

from broker.connections.moving.formats import ReadOptions, reader
from broker.connections.moving.json_items import items_of
from broker.connections.moving.row import Row, RowFault
from broker.errors import InvalidRequest
from tests.connections.moving.reading import faults, read, rows, sample

GOOD = {"provider": "p", "subject": "ann", "credentials": {"api_key": "k"}}


def test_lines_read_as_they_stand() -> None:
    """All members; ``null`` is absent, an empty credential stays one."""
    first, second, third = rows(sample("connections.jsonl"), provider="practice")
    assert first == Row(
        number=1,
        provider="practice",
        subject="ann",
        credentials={
            "access_token": "at-canary-1",
            "refresh_token": "rt-canary-1",
            "expires_at": 1_900_000_000,
            "scope": ["profile"],
        },
        parameters={"subdomain": "north"},
        scopes=["profile", "messages.read"],
        label="Ann's",
        metadata={"seat": [4, {"row": None}]},
        account_id="usr_1001",
        account_name="alice@practice.example",
        created_at=1_709_890_983_000,
        source_id="42",
    )
    assert (second.number, second.created_at, second.provider) == (3, 1_709_890_983_123, "practice-key")
    assert (third.credentials, third.label, third.provider) == ({}, None, "practice")


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_an_array_reads_like_lines(indent: int | None, bom: bytes) -> None:
    """Numbered by position, however it is laid out."""
    several = [{**GOOD, "subject": f"ann-{number}"} for number in range(1_000)]
    found = rows(bom + json.dumps(several, indent=indent).encode())
    assert [(row.number, row.subject) for row in found] == [(number + 1, f"ann-{number}") for number in range(1_000)]
    assert rows(b" [ ] ") == []


def test_a_long_array_is_never_in_memory_whole() -> None:
    """Of forty megabytes, one object and what was read along with it are held."""
    one = json.dumps({**GOOD, "metadata": {"note": "x" * 10_000}}).encode()

    class Endless(io.RawIOBase):
        """An array as long as is asked for."""

        def __init__(self) -> None:
            self.at, self.length = 0, 4_000 * (len(one) + 1) + 1

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.at

        def seek(self, to: int, _: int = 0) -> int:
            self.at = to
            return to

        def readable(self) -> bool:
            return True

        def readinto(self, into: Any) -> int:
            count = 0
            while count < len(into) and self.at < self.length:
                within = (self.at - 1) % (len(one) + 1)
                if self.at == 0:
                    piece = b"["
                elif within == len(one):
                    piece = b"]" if self.at == self.length - 1 else b","
                else:
                    piece = one[within:]
                piece = piece[: min(len(into) - count, self.length - self.at)]
                into[count : count + len(piece)] = piece
                count, self.at = count + len(piece), self.at + len(piece)
            return count

    tracemalloc.start()
    count = sum(isinstance(item, dict) for _, item in items_of(io.BufferedReader(Endless())))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4_000
    assert peak < 4_000_000


WRONG = {
    "provider": 7,
    "subject": ["ann"],
    "credentials": "api_key=canary",
    "scopes": "profile",
    "parameters": {"subdomain": 7},
    "label": {"canary": 1},
    "metadata": ["canary"],
    "account_id": 1.5,
    "account_name": 7,
    "created_at": "canary",
    "source_id": True,
}


@pytest.mark.parametrize(("member", "value"), WRONG.items(), ids=WRONG)
def test_a_member_of_another_type_is_named(member: str, value: object) -> None:
    """Without what stood there; and the next line is read."""  # G2
    text = json.dumps({**GOOD, member: value}) + "\n" + json.dumps(GOOD)
    ((number, field, message),) = faults(text)
    assert (number, field) == (1, member)
    assert "canary" not in message
    assert len(read(text)) == 2


@pytest.mark.parametrize("member", ["pk_live_8Jd02kfLq", "canary-" * 6, "Canary!", "canary 4711", ""])
def test_unknown_members_that_are_no_names_are_not_repeated(member: str) -> None:
    """Somebody may have put the credential in the place of a name."""
    ((_, field, message),) = faults(json.dumps({**GOOD, member: 1}))
    assert field == ""
    assert not member or member not in message
    assert "source_id" in message


@pytest.mark.parametrize(
    ("member", "said"),
    [("sourceId", "did you mean source_id?"), ("lable", "did you mean label?"), ("tenant", "there are: provider")],
)
def test_unknown_members_are_named(member: str, said: str) -> None:
    """With ours that is near, or with all of ours."""
    ((_, field, message),) = faults(json.dumps({**GOOD, "pk_live_8Jd02kfLq": 1, member: 1}))
    assert (field, said in message) == (member, True)


def test_a_fault_says_what_the_other_system_calls_the_object() -> None:
    """Where it says so, and it is no secret out of place."""
    for source_id, told in (("theirs-1", "theirs-1"), (4711, "4711"), ("x" * 65, None), (["x"], None)):
        (fault,) = read(json.dumps({**GOOD, "source_id": source_id, "subject": []}))
        assert isinstance(fault, RowFault)
        assert (fault.field, fault.source_id) == ("subject", told)


@pytest.mark.parametrize("needed", ["subject", "credentials", "provider"])
def test_what_is_needed_is_named(needed: str) -> None:
    """A credential may be empty, not absent."""
    ((_, field, _),) = faults(json.dumps({name: value for name, value in GOOD.items() if name != needed}))
    assert field == needed


def with_metadata(text: str) -> str:
    """A row with which nothing is wrong but perhaps its metadata."""
    return json.dumps({**GOOD, "metadata": "HERE"}).replace('"HERE"', text)


LINES = {
    "no JSON": ("{canary", "is no JSON"),
    "no object": ("[1]", "must be an object"),
    "two values": ('{"a":1} {"a":1}', "is no JSON"),
    "deep": (with_metadata('{"a":' * 30 + "1" + "}" * 30), "within each other"),
    "very deep": (with_metadata("[" * 200_000), "within each other"),
    "a member twice": (with_metadata('{"canary":1,"canary":2}'), "named twice"),
    "NaN": (with_metadata('{"a":NaN}'), "JSON doesn't know"),
    "beyond numbers": (with_metadata('{"a":1e999}'), "beyond all bounds"),
    "an endless number": (with_metadata('{"a":' + "1" * 10_000 + "}"), "is no JSON"),
    "half a character": (with_metadata('{"a":"\\ud800"}'), "half a character"),
    "half a character in a name": (with_metadata('{"\\udfff":1}'), "half a character"),
}


@pytest.mark.parametrize(("line", "words"), LINES.values(), ids=LINES)
def test_a_line_that_is_none_keeps_no_other_back(line: str, words: str) -> None:
    """It is named by its number, and the next one is read."""
    text = f"{json.dumps(GOOD)}\n{line}\n{json.dumps(GOOD)}\n"
    ((number, _, message),) = faults(text, name="jsonl")
    assert number == 2
    assert words in message
    assert "canary" not in message
    assert [row.number for row in read(text, name="jsonl") if isinstance(row, Row)] == [1, 3]


ONE = json.dumps(GOOD)
ARRAYS = {
    "cut off": (f'[{ONE},{{"b"', "cut off"),
    "cut off after an element": (f"[{ONE}", "cut off"),
    "no comma": (f"[{ONE}{ONE}]", "is no JSON"),
    "a comma at the end": (f"[{ONE},]", "is no JSON"),
    "commas": ("[,]", "is no JSON"),
    "something after it": (f"[{ONE}] canary", "after the array"),
    "two arrays": (f"[{ONE}][]", "after the array"),
    "half a character": ('["\\ud800"]', "half a character"),
    "deep": ("[" * 200_000, "within each other"),
    "too long": ('["' + "x" * 3_000_000, "KiB"),
}


@pytest.mark.parametrize(("text", "words"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_is_none_ends_in_a_fault(text: str, words: str) -> None:
    """What comes after it can't be told."""
    message = faults(text, name="jsonl")[-1][2]
    assert words in message
    assert "canary" not in message


def test_bytes_that_are_no_text_are_named() -> None:
    """In lines the others are read, in an array what stood before."""
    line = json.dumps(GOOD).encode()
    assert [number for number, _, _ in faults(line + b"\n\xff\n" + line)] == [2]
    found = read(b"[" + line + b"," + line[:-1] + b"\xff}]")
    assert found[-1] == read(b"[" + line + b"," + line[:-1] + b"\xff}]")[-1]
    assert "UTF-8" in str(found[-1])


def test_a_line_without_end_is_no_danger() -> None:
    """It is not read to its end."""
    asked: list[int] = []

    class Watched(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            asked.append(-1 if size is None else size)
            return super().readline(size)

    (fault,) = reader("jsonl", b"").read(Watched(b"{" + b" " * 5_000_000), ReadOptions())
    assert isinstance(fault, RowFault)
    assert fault.number == 1
    assert "KiB" in fault.message
    assert len(asked) == 1
    assert 0 < asked[0] < 5_000_000


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'\xef\xbb\xbf[{"a":1', "JsonRows"),
        (b'{"provider"', "JsonRows"),
        (b'[{"connection_id":"c","provider_config_key":"p"', "Nango"),
        (b'{"connections": [\n {"provider_config_key" : "p"', "Nango"),
        (b'[{"model": "socialaccount.socialapp"', "Allauth"),
        (b'{"userId":1,"providerAccountId":2', "AuthJs"),
        (b'"id","userId","providerAccountId"\n', "AuthJs"),
        (b"a;b\n1;2", "CsvTable"),
        (b"eyJhbGciOiJFQ0RILUVTIn0.abc.def", "SealedExport"),
    ],
)
def test_a_format_is_known_by_how_it_begins(head: bytes, name: str) -> None:
    """Unless the operator says which it is."""
    assert type(reader(None, head)).__name__ == name
    assert type(reader("csv", head)).__name__ == "CsvTable"


@pytest.mark.parametrize(("name", "head"), [("xml", b"{}"), (None, b"<?xml"), (None, b""), (None, b"\x00\x01")])
def test_an_unknown_format_is_refused_with_those_that_there_are(name: str | None, head: bytes) -> None:
    """By name or by its beginning."""
    with pytest.raises(InvalidRequest) as refused:
        reader(name, head)
    assert "csv, jsonl, nango, authjs, django-allauth, export" in refused.value.faults[0].message


@pytest.mark.parametrize("name", ["jsonl", "nango", "authjs", "django-allauth", "export"])
def test_columns_are_mapped_in_tables_only(name: str) -> None:
    """Elsewhere ``--map`` would be passed over in silence."""
    with pytest.raises(InvalidRequest):
        reader(name, b"").read(io.BytesIO(b""), ReadOptions(columns={"a": "subject"}))

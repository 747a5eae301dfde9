"""Tables: the columns are the fields of a row, and no fault repeats a cell."""

import pytest

from broker.connections.moving.formats import columns_of, providers_of
from broker.connections.moving.row import Row
from broker.errors import InvalidRequest
from broker.providers import Registry
from tests.connections.moving.reading import faults, read, rows, sample

NAMED = "provider,subject,api_key\n"
NOTES = {"Notes": "ignore"}


def test_a_table_reads_as_it_stands() -> None:
    """Every kind of column: ours, a credential's fields, parameters, metadata, and one that is left out."""
    first, second, third = rows(sample("connections.csv"), columns=NOTES)
    assert first == Row(
        number=2,
        provider="practice",
        subject="ann",
        credentials={"access_token": "at-canary-1", "refresh_token": "rt-canary-1", "expires_at": "1900000000"},
        parameters={"subdomain": "north"},
        scopes=["profile", "messages.read"],
        label="Ann's mail",
        metadata={"team": "sales"},
        account_id="usr_1001",
        account_name="alice@practice.example",
        created_at=1_709_890_983_000,
        source_id="42",
    )
    assert (second.credentials, second.created_at) == ({"api_key": "key-canary-2"}, 1_709_890_983_000)
    assert third.credentials == {"username": "cleo@practice.example", "password": "pw-canary-3"}
    assert (third.scopes, third.account_id, third.label) == (["profile", "messages.read"], None, None)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_what_spreadsheets_write_is_understood(separator: str, ending: str, bom: str) -> None:
    """Their separators, line ends and marks; quotes around what holds them; blank lines."""
    lines = ["provider|subject|api_key|label", '"p"|ann|k|"a|b ""c""\nd"', "|||", "", "p|bob|k2|"]
    text = bom + ending.join(lines).replace("|", separator)
    first, second = rows(text)
    assert (first.provider, first.label) == ("p", f'a{separator}b "c"\nd')
    assert second.credentials == {"api_key": "k2"}


def test_columns_can_be_called_otherwise() -> None:
    """``--map`` says which field a column is, or that it is none."""
    columns = columns_of(["api_key=Key", "subject=user id", "ignore=Notes", "credentials.custom=X", "metadata.a=A"])
    (row,) = rows("Key,user id,Notes,X,A\nk,ann,n,x,a\n", columns=columns, provider="p")
    assert row.credentials == {"api_key": "k", "custom": "x"}
    assert (row.subject, row.metadata, row.provider) == ("ann", {"a": "a"}, "p")


@pytest.mark.parametrize("pairs", [["x"], ["=y"], ["x="], ["a=c", "b=c"]])
def test_a_mapping_that_is_none_is_refused(pairs: list[str]) -> None:
    """Each is a pair, and nothing is two things."""
    for parse, option in ((columns_of, "--map"), (providers_of, "--map-provider")):
        if parse is providers_of and pairs == ["a=c", "b=c"]:
            continue
        with pytest.raises(InvalidRequest) as refused:
            parse(pairs)
        assert refused.value.faults[0].field == option
    with pytest.raises(InvalidRequest):
        providers_of(["a=b", "a=c"])


def test_a_mapping_to_no_field_is_refused_at_once() -> None:
    """Before anything is read."""
    with pytest.raises(InvalidRequest) as refused:
        read(NAMED, columns={"api_key": "apikey"})
    assert "apikey" in refused.value.faults[0].message


def test_their_providers_become_ours() -> None:
    """``--map-provider``; others keep their name."""
    found = rows(NAMED + "theirs,ann,k\np,ann,k2\n", providers=providers_of(["theirs=ours", "a=b=c"]))
    assert [row.provider for row in found] == ["ours", "p"]


def test_fields_that_an_entry_made_up_are_columns(providers: Registry) -> None:
    """A credential of type custom has whichever fields its entry says."""
    text = "provider,subject,key_id,secret\npractice-custom,ann,sk,s\n"
    assert [field for _, field, _ in faults(text)] == ["column 3", "column 4"]
    (row,) = rows(text, entries=providers)
    assert row.credentials == {"key_id": "sk", "secret": "s"}


def test_unknown_columns_are_all_named() -> None:
    """With what to do about them, once, and without reading on. Where a name of ours is near, it is told."""
    found = faults("provider,subject,apikey,Notes\np,ann,k,n\n")
    assert [(number, field) for number, field, _ in found] == [(1, "column 3"), (1, "column 4")]
    assert "(did you mean api_key?)" in found[0][2]
    assert "--map" in found[1][2]
    assert "did you mean" not in found[1][2]


@pytest.mark.parametrize("first", ["practice,ann,tok_canary-7f3a\n", "ann,tok_canary-7f3a,provider\n"])
def test_a_table_without_names_is_known_for_one(first: str) -> None:
    """Its first line may hold a credential, which is not repeated."""
    found = faults(first + "practice,bob,tok_2\n")
    assert [number for number, _, _ in found] == [1]
    assert "canary" not in str(found)


@pytest.mark.parametrize("value", ["ghp_canary" + "7f3a" * 10, "canary", "api_key_canary", "Canary-pass word"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_ran_into_the_line_of_names_is_not_repeated(value: str, times: int) -> None:
    """However much it looks like a name: a line break may be missing, and anything can be a password."""
    found = faults(f"provider,subject{f',{value}' * times}\np,ann{',k' * times}\n")
    assert found[-1][1] == f"column {times + 2}"
    assert "anary" not in str(found)


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ("provider,api_key", "subject"),
        ("subject,api_key", "provider"),
        ("provider,subject,api_key,api_key", "column 4"),
        ("provider,subject,api_key,credentials.api_key", "column 4"),
        ("", ""),
        (",,", ""),
    ],
)
def test_columns_that_are_needed_or_doubled_are_named(names: str, field: str) -> None:
    """Once, in the line of names."""
    found = faults(f"{names}\np,ann,k,l\n", name="csv")
    assert [(number, named) for number, named, _ in found] == [(1, field)]


def test_a_mapped_column_that_is_not_there_is_named() -> None:
    """A slip of the pen would leave a credential out."""
    ((_, field, _),) = faults(NAMED + "p,ann,k\n", columns={"Kee": "api_key"}) or [(0, "", "")]
    assert field == "Kee"


def test_a_row_is_named_by_its_number_and_never_by_its_content() -> None:
    """Too few or too many cells; the rows around it are read."""  # G2
    text = NAMED + "p,ann,k1\np,canary\np,canary,canary,canary\n,bob,canary\np,,canary\np,eve,k2\n"
    found = faults(text)
    assert [(number, field) for number, field, _ in found] == [(3, ""), (4, ""), (5, "provider"), (6, "subject")]
    assert "canary" not in str(found)
    assert [row.number for row in read(text) if isinstance(row, Row)] == [2, 7]


@pytest.mark.parametrize(
    "rest",
    [b'p,"ann,k\np,bob,k\n', b'p,an"n"x,"k"y\n', b"p,\xff\xfe,k\n", b"p,ann," + b"k" * 200_000, b"x" * 3_000_000],
    ids=["open quote", "text after a quote", "no UTF-8", "a long cell", "a long line"],
)
def test_where_nothing_can_be_told_any_more_it_ends(rest: bytes) -> None:
    """One fault that says so, after what could be read."""
    found = read(NAMED.encode() + b"p,ann,k1\n" + rest)
    assert isinstance(found[0], Row)
    assert len(found) == 2
    assert faults(NAMED.encode() + rest)[0][0] == 2


@pytest.mark.parametrize(("text", "moment"), [("1709890983", 1_709_890_983_000), ("1709890983725", 1_709_890_983_725)])
def test_times_are_read_as_they_are_usually_written(text: str, moment: int) -> None:
    """Seconds, milliseconds or RFC 3339; anything else is a fault."""
    (row,) = rows(f"provider,subject,created_at\np,ann,{text}\n")
    assert row.created_at == moment
    assert faults("provider,subject,created_at\np,ann,yesterday\n")[0][:2] == (2, "created_at")

"""However a file lays its objects out, each format of objects reads the same of it."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from tests.connections.moving.reading import faults, rows

_Object = dict[str, Any]


def _ours(number: int) -> list[_Object]:
    return [{"provider": "p", "subject": f"user-{number}", "credentials": {"api_key": f"key-{number}"}}]


def _nango(number: int) -> list[_Object]:
    credentials = {"type": "API_KEY", "apiKey": f"key-{number}"}
    return [{"connection_id": f"user-{number}", "provider_config_key": "p", "credentials": credentials}]


def _authjs(number: int) -> list[_Object]:
    account = {"userId": f"user-{number}", "provider": "p", "providerAccountId": str(number)}
    return [{**account, "type": "oauth", "access_token": f"token-{number}"}]


def _allauth(number: int) -> list[_Object]:
    account = {"user": [f"user-{number}"], "provider": "p", "uid": str(number)}
    token = {"account": number, "token": f"token-{number}"}
    return [
        {"model": "socialaccount.socialaccount", "pk": number, "fields": account},
        {"model": "socialaccount.socialtoken", "pk": number, "fields": token},
    ]


FORMATS: Final[Mapping[str, Callable[[int], list[_Object]]]] = {
    "jsonl": _ours,
    "nango": _nango,
    "authjs": _authjs,
    "django-allauth": _allauth,
}
LAYOUTS: Final[Mapping[str, Callable[[list[_Object]], str]]] = {
    "lines": lambda several: "".join(f"{json.dumps(one)}\n" for one in several),
    "lines without an end": lambda several: "\n".join(map(json.dumps, several)),
    "compact": lambda several: json.dumps(several, separators=(",", ":")),
    "indented": lambda several: json.dumps(several, indent=2) + "\n",
}
ENCLOSED: Final = {"nango": "connections", "authjs": "accounts"}


@pytest.mark.parametrize("count", [1, 3, 2000])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FORMATS)
def test_each_format_reads_lines_and_arrays(name: str, layout: str, count: int) -> None:
    """One object or many, on lines of their own or in an array, with and without spaces."""
    several = [each for number in range(1, count + 1) for each in FORMATS[name](number)]
    found = rows(LAYOUTS[layout](several))
    assert [row.subject for row in found] == [f"user-{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ENCLOSED)
def test_an_array_may_have_its_object_around_it(name: str, indent: int | None) -> None:
    """As an API answers it, whatever else the object says after it."""
    several = [each for number in range(1, 4) for each in FORMATS[name](number)]
    enclosed = json.dumps({ENCLOSED[name]: several, "next": {"page": 2}}, indent=indent)
    assert [row.subject for row in rows(enclosed)] == ["user-1", "user-2", "user-3"]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_may_follow_an_array(name: str) -> None:
    """Nor may the array, or the object around it, be cut off."""
    text = json.dumps([each for number in range(1, 4) for each in FORMATS[name](number)])
    for broken in (text + "}", text + ' {"a": 1}', text[:-1], text[:-3]):
        (*_, last) = faults(broken)
        assert "nothing after it was read" in last[2]
    if name in ENCLOSED:
        (*_, last) = faults(f'{{"{ENCLOSED[name]}": {text}')
        assert "nothing after it was read" in last[2]

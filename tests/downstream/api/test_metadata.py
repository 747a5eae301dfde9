"""Metadata: any JSON object within bounds comes back as it was given, wherever a connection is shown."""

import json
from typing import Any

import pytest

from tests.downstream.answers import code_of
from tests.world import Person, ServiceClient

RICH: dict[str, Any] = {
    "text": 'é \U0001f600 \x00 "\\',
    "": "a name may be empty",
    "numbers": [0, -1, 1.5, 1e300, 10**30],
    "nothing": None,
    "flags": [True, False, []],
    "nested": {"of": {"objects": [{"and": ["arrays", {}]}]}},
}


def nested(levels: int, *, arrays: bool) -> dict[str, Any]:
    """Metadata of so many levels, the outermost counted."""
    inner: Any = 1
    for _ in range(levels - 1):
        inner = [inner] if arrays else {"a": inner}
    return {"a": inner}


WITHIN = {
    "everything": RICH,
    "fifty members": {f"k{number}": number for number in range(50)},
    "a long name": {"n" * 100: {"m" * 100: 1}},
    "eight objects": nested(8, arrays=False),
    "eight arrays": nested(8, arrays=True),
    "16 KiB": {"t": "x" * (16 * 1024 - len('{"t":""}'))},
    "16 KiB of UTF-8": {"t": "é" * (8 * 1024 - 4)},
    "a number of 4000 digits": {"n": 10**4000},
}
BEYOND = {
    "fifty-one members": {f"k{number}": number for number in range(51)},
    "too long a name": {"n" * 101: 1},
    "too long a name inside": {"a": [{"m" * 101: 1}]},
    "nine objects": nested(9, arrays=False),
    "nine arrays": nested(9, arrays=True),
    "a hundred and fifty arrays": nested(150, arrays=True),
    "more than 16 KiB": {"t": "x" * (16 * 1024)},
}


def order(metadata: dict[str, Any], *, credentials: bool) -> bytes:
    """A body with this metadata."""
    given: dict[str, Any] = {"provider": "practice", "subject": "ann", "metadata": metadata}
    return json.dumps({**given, "credentials": {}} if credentials else given).encode()


async def send(app: ServiceClient, path: str, body: bytes) -> Any:
    """The answer to a body as these bytes."""
    return await app.call("POST", path, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("metadata", WITHIN.values(), ids=WITHIN)
async def test_it_comes_back_as_it_was_given(app: ServiceClient, metadata: dict[str, Any]) -> None:
    """In the answer that makes a connection, alone and in a list, whatever it holds."""
    made = await send(app, "/v1/connections", order(metadata, credentials=True))
    assert made.status_code == 201, made.text
    assert made.json()["metadata"] == metadata
    one = f"/v1/connections/{made.json()['id']}"
    assert (await app.call("GET", one)).json()["metadata"] == metadata
    assert (await app.call("POST", f"{one}/refresh")).json()["metadata"] == metadata
    assert [item["metadata"] for item in (await app.call("GET", "/v1/connections")).json()["items"]] == [metadata]
    assert (await app.fetch(made.json()["id"])).status_code == 200


@pytest.mark.parametrize("metadata", WITHIN.values(), ids=WITHIN)
async def test_a_session_carries_it_to_the_connection(
    app: ServiceClient, person: Person, metadata: dict[str, Any]
) -> None:
    """Through the browser and the completion, and on when the connection is renewed."""
    opened = await send(app, "/v1/connect-sessions", order(metadata, credentials=False))
    assert opened.status_code == 201, opened.text
    code = (await person.connect(opened.json()["connect_url"]))["completion_code"]
    connection = (await app.complete(opened.json()["id"], code)).json()["connection"]
    assert connection["metadata"] == metadata
    renewed = await app.connect(person, connection_id=connection["id"])
    assert renewed["metadata"] == metadata


@pytest.mark.parametrize("path", ["/v1/connections", "/v1/connect-sessions"])
@pytest.mark.parametrize("metadata", BEYOND.values(), ids=BEYOND)
async def test_beyond_the_bounds_it_is_a_fault(app: ServiceClient, path: str, metadata: dict[str, Any]) -> None:
    """One fault that names the field and the bound, in words of the API and not of its insides."""
    refused = await send(app, path, order(metadata, credentials=path == "/v1/connections"))
    assert (refused.status_code, code_of(refused)) == (400, "invalid_request")
    (fault,) = refused.json()["errors"]
    assert fault["field"] == "metadata"
    assert any(bound in fault["message"] for bound in ("50", "100", "8", "16"))
    assert "xxx" not in refused.text

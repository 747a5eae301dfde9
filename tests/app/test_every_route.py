"""Every route there is, found by asking the app: odd verbs and hostile bodies, answered in the words of its face."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.http.reading import BODY_LIMIT
from tests.journey import MakeClient

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW", "A" * 5000)
FORM = "application/x-www-form-urlencoded"
DEEP = {
    "application/json": b'{"provider":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    FORM: b"decision=" + b"[" * 10_000,
}
MANY = {
    "application/json": b"{" + b",".join(b'"f%d":1' % i for i in range(1001)) + b"}",
    FORM: b"&".join(b"f%d=1" % i for i in range(1001)),
}


def paths_of(heart: Heart) -> Mapping[str, set[str]]:
    """The methods of every path, whose parameters are filled in."""
    found: dict[str, set[str]] = {}
    for route in app_of(heart).routes:
        if isinstance(route, Route):
            found.setdefault(re.sub(r"\{[^}]+\}", "x", route.path), set()).update(route.methods or ())
    return found


@pytest.fixture
async def headers(make_client: MakeClient) -> dict[str, str]:
    """Of a client that may do everything, so that a body is refused for its own sake."""
    return {"Authorization": f"Bearer {await (await make_client()).broker_token()}"}


def taking_bodies(heart: Heart) -> Iterator[tuple[str, str, str]]:
    """Method, path and content type of every route that takes in a body. The proxy passes them on, of any kind."""
    for path, methods in paths_of(heart).items():
        if path.startswith("/proxy/"):
            continue
        for method in sorted(methods & {"POST", "PUT", "PATCH", "DELETE"}):
            yield method, path, "application/json" if path.startswith("/v1") else FORM


async def test_an_odd_verb_is_405_at_every_address(heart: Heart, http: httpx2.AsyncClient) -> None:
    """And says which ones are right (RFC 9110 §15.5.6); none of them is taken for another."""  # S12
    paths = paths_of(heart)
    assert len(paths) > 20
    for path, methods in paths.items():
        for verb in set(VERBS) - methods:
            answer = await http.request(verb, path)
            assert answer.status_code == 405, (verb, path)
            assert answer.headers.get_list("allow") == [", ".join(sorted(methods))], path
            assert "x-request-id" in answer.headers
            assert "access-control-allow-origin" not in answer.headers
            if path.startswith("/v1"):
                assert answer.headers["content-type"] == "application/problem+json"
            if path.startswith("/oauth") and verb != "HEAD":
                assert answer.json()["error"] == "invalid_request"


async def test_ten_megabytes_are_413_at_every_address(
    heart: Heart, http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    """Announced: not a byte is taken. Not announced: no more than the limit is, before anything is parsed."""  # S11
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(10_240):
            taken += 1024
            yield b"x" * 1024

    for method, path, content_type in taking_bodies(heart):
        own = {**headers, "Content-Type": content_type} if path.startswith("/v1") else {"Content-Type": content_type}
        for announced in ({"Content-Length": "10485760"}, {}):
            taken = 0
            answer = await http.request(method, path, content=endless(), headers={**own, **announced})
            assert answer.status_code == 413, (method, path)
            assert taken <= (0 if announced else BODY_LIMIT + 2 * 1024), (method, path)


@pytest.mark.parametrize("hostile", [DEEP, MANY], ids=["ten thousand deep", "1001 fields"])
async def test_a_deep_or_wide_body_is_no_reason_to_fail(
    heart: Heart, http: httpx2.AsyncClient, headers: dict[str, str], hostile: Mapping[str, bytes]
) -> None:
    """400 where the body is looked at, and never more than a client's error."""  # S11
    refused = 0
    for method, path, content_type in taking_bodies(heart):
        own = headers if path.startswith("/v1") else {}
        answer = await http.request(
            method, path, content=hostile[content_type], headers={**own, "Content-Type": content_type}
        )
        assert 400 <= answer.status_code < 500, (method, path)
        assert len(answer.content) < 16 * 1024, (method, path)
        refused += answer.status_code == 400
    assert refused >= 4


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"grant_type": "client_credentials"}'),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\nx\r\n--b--\r\n',
        ),
        ("text/plain", b"grant_type=client_credentials"),
        ("application/x-www-form-urlencoded-not", b"grant_type=client_credentials"),
    ],
)
async def test_another_content_type_is_415_at_every_form(
    heart: Heart, http: httpx2.AsyncClient, content_type: str, body: bytes
) -> None:
    """It is not parsed in search of credentials."""  # S10
    for method, path, right in taking_bodies(heart):
        if right == FORM:
            answer = await http.request(method, path, content=body, headers={"Content-Type": content_type})
            assert answer.status_code == 415, path


async def test_a_form_is_415_at_every_address_that_takes_json(
    heart: Heart, http: httpx2.AsyncClient, headers: dict[str, Any]
) -> None:
    """A page of another site could send one without asking."""  # S10
    for method, path, right in taking_bodies(heart):
        if right != FORM:
            own = {**headers, "Content-Type": FORM}
            assert (await http.request(method, path, content=b"a=1", headers=own)).status_code == 415, path

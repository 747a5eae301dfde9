"""Every request is judged in one order: size and content type, authentication, scope, existence, body."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from broker.http.reading import BODY_LIMIT
from tests.downstream.answers import code_of, oauth_error_of
from tests.downstream.rows import ROWS, UNKNOWN, Scene
from tests.journey import MakeClient
from tests.world import ServiceClient

ROUTES = sorted(ROWS)
READING = [route for route in ROUTES if " /proxy/" not in route]
"""The proxy passes a body on while it comes in: who asks, and about what, is judged before anything of it is read."""
WITH_A_BODY_AND_A_TARGET = [r for r in ROUTES if ROWS[r].target in {"connection", "session"} and ROWS[r].body]
OAUTH = ["/oauth/token", "/oauth/introspect", "/oauth/revoke"]
JSON = {"Content-Type": "application/json"}
TOO_LARGE = b" " * (BODY_LIMIT + 1)


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(80):
        yield b" " * 1024


@pytest.mark.parametrize("route", READING)
async def test_size_then_type_then_who(http: httpx2.AsyncClient, route: str) -> None:
    """413 before 415 before 401, on every route; also for a body whose size was not announced."""  # S11
    kind = ROWS[route].target
    method, path = Scene(ServiceClient(http, "", "")).path(route, UNKNOWN[kind] if kind else None)

    async def status(**options: Any) -> tuple[int, str]:
        answer = await http.request(method, path, **options)
        return answer.status_code, code_of(answer)

    assert await status(content=TOO_LARGE, headers={"Content-Type": "image/png"}) == (413, "payload_too_large")
    assert await status(content=TOO_LARGE, headers=JSON) == (413, "payload_too_large")
    assert await status(content=_chunks(), headers=JSON) == (413, "payload_too_large")
    assert await status(content=b"{", headers={"Content-Type": "text/plain"}) == (415, "unsupported_media_type")
    assert await status(data={"a": "b"}) == (415, "unsupported_media_type")
    assert await status(content=b"{", headers={**JSON, "Content-Encoding": "gzip"}) == (415, "unsupported_media_type")
    assert await status(content=b"{", headers=JSON) == (401, "unauthenticated")


@pytest.mark.parametrize("route", WITH_A_BODY_AND_A_TARGET)
async def test_scope_then_existence_then_body(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, route: str
) -> None:
    """403 before 404 before 400: who may not ask learns nothing, and nobody learns from a bad body what exists."""
    session = await app.open_session()
    scene = Scene(app, {"connection": connection["id"], "session": session["id"]})
    kind = ROWS[route].target
    assert kind is not None
    method, there = scene.path(route)
    nowhere = scene.path(route, UNKNOWN[kind])[1]
    scopeless = await make_client("scopeless", scopes=("proxy",))

    async def status(caller: ServiceClient, path: str) -> tuple[int, str]:
        answer = await caller.call(method, path, content=b"{broken", headers=JSON)
        return answer.status_code, code_of(answer)

    assert await status(scopeless, nowhere) == (403, "insufficient_scope")
    assert await status(scopeless, there) == (403, "insufficient_scope")
    assert await status(app, nowhere) == (404, "not_found")
    assert await status(app, there) == (400, "invalid_request")


async def test_a_bad_query_comes_after_existence(app: ServiceClient, connection: dict[str, Any]) -> None:
    """The query is a kind of body."""
    for target, expected in ((UNKNOWN["connection"], 404), (connection["id"], 400)):
        answer = await app.call("GET", f"/v1/connections/{target}/events?limit=x")
        assert answer.status_code == expected


@pytest.mark.parametrize("path", OAUTH)
async def test_the_oauth_face_judges_size_and_type_first(http: httpx2.AsyncClient, path: str) -> None:
    """413, then 415, then 401, then 400."""  # S10, S11

    async def status(**options: Any) -> tuple[int, str]:
        answer = await http.post(path, **options)
        return answer.status_code, oauth_error_of(answer)

    assert await status(content=TOO_LARGE, headers=JSON) == (413, "invalid_request")
    assert await status(content=_chunks(), headers=JSON) == (413, "invalid_request")
    assert await status(json={"grant_type": "client_credentials"}) == (415, "invalid_request")
    assert await status(files={"grant_type": b"client_credentials"}) == (415, "invalid_request")
    assert await status(content=b"grant_type=client_credentials") == (415, "invalid_request")
    assert await status(data={"nothing": "known"}) == (401, "invalid_client")


@pytest.mark.parametrize("path", OAUTH)
async def test_who_authenticates_learns_what_is_missing(app: ServiceClient, path: str) -> None:
    """400 comes after 401, and names the parameter."""
    answer = await app.http.post(path, auth=(app.client_id, app.secret))
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert ("grant_type" if path == "/oauth/token" else "token") in answer.json()["error_description"]

"""The last resort: unknown addresses, odd verbs and bugs of our own, each in the words of its face."""

import re
from collections.abc import AsyncIterator
from io import StringIO

import httpx2
import pytest

from broker.app.composition import app_of
from broker.app.heart import Heart
from tests.observe.capture import logged
from tests.world import PUBLIC_URL

__all__ = ["logged"]


@pytest.fixture
async def http(heart: Heart) -> AsyncIterator[httpx2.AsyncClient]:
    """The broker's faces as a server shows them: a bug is an answer."""
    transport = httpx2.ASGITransport(app_of(heart), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/", "/proxy/con_x", "/.well-known/nothing"])
async def test_an_unknown_address_of_the_json_face_is_a_problem(http: httpx2.AsyncClient, path: str) -> None:
    """RFC 9457; what was asked for does not come back."""
    answer = await http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"], problem["errors"]) == (404, "not_found", [])
    assert answer.headers["cache-control"] == "no-store"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "nothing" not in problem["detail"].replace("there is nothing at", "")


async def test_an_unknown_address_of_the_oauth_face_is_an_oauth_error(http: httpx2.AsyncClient) -> None:
    """RFC 6749 §5.2; what is reserved for later is not there yet."""
    for path in ("/oauth/authorize", "/oauth/par", "/oauth/register", "/oauth/jwks", "/oauth/x"):
        answer = await http.post(path)
        assert answer.status_code == 404
        assert answer.json()["error"] == "invalid_request"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_an_unknown_address_of_people_is_a_page(http: httpx2.AsyncClient) -> None:
    """Escaped, framed by nobody, with the id to ask about."""  # B10
    answer = await http.get("/<script>alert(1)</script>")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script>" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"] in answer.text


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/oauth/token", "POST"),
        ("/v1/providers", "GET, HEAD"),
        ("/v1/connections", "GET, HEAD, POST"),
        ("/v1/connections/con_x", "DELETE, GET, HEAD, PATCH"),
        ("/v1/clients", "GET, HEAD, POST"),
        ("/connect/x", "GET, HEAD, POST"),
        ("/livez", "GET, HEAD"),
        ("/static/style.css", "GET, HEAD"),
        ("/static/oauth/token", "GET, HEAD"),
    ],
)
async def test_an_odd_verb_is_405_and_names_all_the_right_ones(
    http: httpx2.AsyncClient, path: str, allowed: str
) -> None:
    """RFC 9110 §15.5.6: also those that other routes of the same path take, in one order."""  # S12
    answer = await http.request("BREW", path)
    assert answer.status_code == 405
    assert answer.headers.get_list("allow") == [allowed]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v1/clients", "broker.access.authentication.Authenticator.bearer"),
        ("/oauth/token", "broker.access.authentication.Authenticator.client"),
        ("/connect/x", "broker.connections.opening.Opening.by_handle"),
    ],
)
async def test_a_bug_is_500_and_says_nothing_of_itself(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, logged: StringIO, path: str, part: str
) -> None:
    """The traceback is in the log under the request's id; neither its text nor its type is in the answer."""  # K1

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted-detail")

    monkeypatch.setattr(part, broken)
    if path == "/v1/clients":
        answer = await http.post(path, headers={"Authorization": "Bearer bat_" + "x" * 43})
    else:
        answer = await http.post(path, data={"client_id": "x", "client_secret": "x", "decision": "continue"})
    assert answer.status_code == 500
    for said in ("planted-detail", "ZeroDivisionError", "Traceback"):
        assert said not in answer.text
    assert "ZeroDivisionError: planted-detail" in logged.getvalue()
    [request_id] = re.findall(r"req_\w+", answer.text)
    assert answer.headers["x-request-id"] == request_id
    assert request_id in logged.getvalue()


@pytest.mark.parametrize("path", ["/oauth/token/", "/v1/connections/", "/livez/"])
async def test_an_address_with_a_slash_too_many_is_unknown(http: httpx2.AsyncClient, path: str) -> None:
    """A redirect would carry credentials on (RFC 9700 §4.12), and its address would come from the request."""  # B11
    answer = await http.post(path, headers={"Host": "evil.example"}, data={"client_secret": "x"})
    assert answer.status_code in {404, 405}
    assert "location" not in answer.headers

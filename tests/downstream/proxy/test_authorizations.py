"""Requests that callers send themselves: what to put on them, and on which ones nothing is put."""

import hashlib
from typing import Any

import httpx2
import pytest

from tests.downstream.answers import code_of
from tests.downstream.proxy.caller import ProxyCaller

KINDS = {
    "practice-key": ("api_key", "header"),
    "practice-key-query": ("api_key", "query"),
    "practice-key-prefix": ("api_key", "prefix"),
    "practice-bearer": ("api_key", "bearer"),
    "practice-basic": ("basic", "basic"),
    "practice-custom": ("custom", "signed"),
    "practice-aws": ("aws_sigv4", "aws"),
}


def address(sandbox: httpx2.Client, path: str) -> str:
    """Of something at the practice provider."""
    return f"{str(sandbox.base_url).rstrip('/')}{path}"


async def authorize(caller: ProxyCaller, connection: str, **request: Any) -> httpx2.Response:
    """What to put on ``request``."""
    return await caller.app.call("POST", f"/v1/connections/{connection}/authorization", {"method": "GET", **request})


@pytest.mark.parametrize("provider", KINDS)
async def test_a_caller_need_not_know_the_kind(caller: ProxyCaller, sandbox: httpx2.Client, provider: str) -> None:
    """What is answered makes the caller's own request the connection's, with and without a body."""
    kind, guard = KINDS[provider]
    made = sandbox.post("/control/keys", json={"kind": kind}).raise_for_status().json()
    connection = await caller.connect(provider, **made)
    url, body = address(sandbox, f"/keys/{guard}/messages?a=%20b"), b'{"text": "hello"}'
    assert sandbox.get(url).status_code == 401
    for method, content, digest in (
        ("GET", b"", {}),
        ("POST", body, {"body_sha256": hashlib.sha256(body).hexdigest()}),
    ):
        answer = await authorize(caller, connection, method=method, url=url, **digest)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert told.keys() == {"headers", "query", "connection_id", "generation"}
        target = httpx2.URL(url).copy_merge_params(told["query"]) if told["query"] else url
        sent = sandbox.request(method, target, content=content, headers=told["headers"])
        assert sent.status_code == 200, sent.text
        event = (await caller.app.call("GET", f"/v1/connections/{connection}/events")).json()["items"]
        (written,) = [each["data"] for each in event if each["data"].get("method") == method]
        assert written["path"] == f"/keys/{guard}/messages"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.2:{port}/base/a", 403),
        ("http://localhost:{port}/base/a", 403),
        ("http://127.0.0.1:1/base/a", 403),
        ("http://127.0.0.1/base/a", 403),
        ("https://127.0.0.1:{port}/base/a", 403),
        ("https://elsewhere.example/base/a", 403),
        ("https://127.0.0.1.elsewhere.example:{port}/base/a", 403),
        ("http://127.0.0.1:{port}@elsewhere.example/base/a", 400),
        ("http://elsewhere.example@127.0.0.1:{port}/base/a", 400),
        ("http://127.0.0.1:{port}#@elsewhere.example/", 400),
        ("http://127.0.0.1:{port}\\@elsewhere.example/", 400),
        ("http://127.0.0.1:{port}/base/a#b", 400),
        ("http://elsewhere.example/base/a", 400),
        ("//127.0.0.1:{port}/base/a", 400),
        ("/base/a", 400),
        ("file:///base/a", 400),
        ("http://127.0.0.1:{port}/base/../a", 400),
        ("http://127.0.0.1:{port}/base/%2e%2e/a", 400),
        ("http://127.0.0.1:{port}/a b", 400),
        ("http://127.0.0.1:{port}/a\r\nHost: x", 400),
        ("http://127.0.0.1:{port}/\xe4", 400),
        ("http://0x7f000001:{port}/base/a", 400),
        ("http://2130706433:{port}/base/a", 400),
        ("http://127.0.0.1.:{port}/base/a", 400),
        ("http://127.0.0.1:0{port}/base/a", 200),
        ("HTTP://127.0.0.1:{port}/elsewhere/on/the/host", 200),
    ],
)
async def test_only_requests_to_the_apis_host_are_authorized(
    caller: ProxyCaller, rough_port: int, url: str, status: int
) -> None:
    """By scheme, host and port; and nothing that two readers take for two addresses."""  # G4
    connection = await caller.connect("rough-header", api_key="planted-key")
    answer = await authorize(caller, connection, url=url.format(port=rough_port))
    assert answer.status_code == status, answer.text
    if status != 200:
        assert code_of(answer) == {400: "invalid_request", 403: "forbidden"}[status]
        assert "planted-key" not in answer.text
        events = (await caller.app.call("GET", f"/v1/connections/{connection}/events")).json()["items"]
        assert "authorization.released" not in {event["type"] for event in events}


async def test_a_provider_without_an_api_has_nothing_to_be_asked(caller: ProxyCaller) -> None:
    """409 that says what is missing from the entry, by either way."""
    connection = await caller.connect("bare")
    for answer in (
        await authorize(caller, connection, url="https://api.example/"),
        await caller.http.get(f"/proxy/{connection}/a"),
    ):
        assert (answer.status_code, code_of(answer)) == (409, "conflict")
        assert "api.base_url" in answer.json()["detail"]

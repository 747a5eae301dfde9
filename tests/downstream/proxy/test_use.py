"""The credential in use: put on, renewed once when it is refused, held to allow lists, and written down."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import redis

from tests.downstream.answers import code_of
from tests.downstream.proxy.caller import ProxyCaller
from tests.journey import MakeClient, everything_in
from tests.upstream.practice_server import Asked, PracticeServer, raw_answer
from tests.world import Person, ServiceClient


@pytest.fixture
async def persons(app: ServiceClient, person: Person) -> dict[str, Any]:
    """A connection with a refresh token."""
    return await app.connect(person, scopes=["profile", "messages.read"])


@pytest.fixture
def revoke(sandbox: httpx2.Client, app: ServiceClient) -> Callable[[str], Any]:
    """Ends the present access token of a connection at the provider; the broker is not told."""

    async def end(connection_id: str) -> None:
        token = (await app.fetch(connection_id)).json()["access_token"]
        auth = ("practice-client", "practice-secret")
        sandbox.post("/revoke", data={"token": token}, auth=auth).raise_for_status()

    return end


async def test_a_refused_credential_is_renewed_and_the_request_repeated(
    caller: ProxyCaller, persons: dict[str, Any], revoke: Callable[[str], Any], sandbox: httpx2.Client
) -> None:
    """Once, with the same body; each of the two requests is written down, with the generation it carried."""
    await revoke(persons["id"])
    answer = await caller.http.post(f"/proxy/{persons['id']}/streams/echo?x=1", content=b"the body")
    assert (answer.status_code, answer.json()["body"]) == (200, "the body")
    assert sandbox.get("/counters").json()["token"]["refresh_token"] == {"ok": 1, "error": 0}
    events = await caller.events(persons["id"])
    # Within one millisecond they stand in no order.
    assert {(event["data"]["generation"], "again" in event["data"]) for event in events} == {(1, False), (2, True)}


async def test_a_streamed_body_is_repeated_as_far_as_it_was_kept(
    caller: ProxyCaller, persons: dict[str, Any], revoke: Callable[[str], Any], sandbox: httpx2.Client
) -> None:
    """64 KiB; the 401 of a larger one is passed on, and the next request is fine."""

    async def pieces(count: int) -> Any:
        for _ in range(count):
            yield b"x" * 8192

    path = f"/proxy/{persons['id']}/streams/upload"
    await revoke(persons["id"])
    assert (await caller.http.post(path, content=pieces(8))).json()["received"] == 65_536
    await revoke(persons["id"])
    assert (await caller.http.post(path, content=pieces(9))).status_code == 401
    assert (await caller.http.post(path, content=b"x")).status_code == 200
    assert sandbox.get("/counters").json()["token"]["refresh_token"] == {"ok": 2, "error": 0}


async def test_a_provider_that_refuses_everything_is_asked_twice(
    caller: ProxyCaller, persons: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """The second 401 is the answer; without a request that succeeds there is no loop."""
    answer = await caller.http.get(f"/proxy/{persons['id']}/streams/status?code=401")
    assert answer.status_code == 401
    assert answer.headers["broker-connection"] == persons["id"]
    counted = sandbox.get("/counters").json()
    assert (counted["api"], counted["token"]["refresh_token"]) == (2, {"ok": 1, "error": 0})
    # It is the request: nothing is renewed for the next one of its kind.
    assert (await caller.http.get(f"/proxy/{persons['id']}/streams/status?code=401")).status_code == 401
    counted = sandbox.get("/counters").json()
    assert (counted["api"], counted["token"]["refresh_token"]) == (3, {"ok": 1, "error": 0})


async def test_what_cant_be_renewed_is_not_repeated(caller: ProxyCaller, rough: PracticeServer) -> None:
    """A key that is refused is refused, and the connection stays as it was."""
    connection = await caller.connect("rough-header", api_key="the-key")
    rough.answers["/base/a"] = raw_answer(401, b"no", {"www-authenticate": "Basic"})
    answer = await caller.http.get(f"/proxy/{connection}/a")
    assert (answer.status_code, answer.content, len(rough.asked)) == (401, b"no", 1)
    assert "www-authenticate" not in answer.headers
    assert (await caller.app.call("GET", f"/v1/connections/{connection}")).json()["status"] == "active"


async def test_a_failed_renewal_leaves_the_providers_answer(
    caller: ProxyCaller, persons: dict[str, Any], revoke: Callable[[str], Any], sandbox: httpx2.Client
) -> None:
    """The 401, while the token endpoint is down."""
    await revoke(persons["id"])
    sandbox.post("/control", json={"token_fault": "status_503"}).raise_for_status()
    answer = await caller.http.get(f"/proxy/{persons['id']}/messages")
    assert answer.status_code == 401
    assert answer.headers["broker-connection"] == persons["id"]


async def test_a_dead_grant_is_told_by_the_broker(
    caller: ProxyCaller, persons: dict[str, Any], sandbox: httpx2.Client
) -> None:
    """First the provider's 401; from then on 409, and the provider is not asked."""
    sandbox.post("/control", json={"revoke_grants": True}).raise_for_status()
    assert (await caller.http.get(f"/proxy/{persons['id']}/messages")).status_code == 401
    answer = await caller.http.get(f"/proxy/{persons['id']}/messages")
    assert (answer.status_code, code_of(answer)) == (409, "reauth_required")
    assert sandbox.get("/counters").json()["api"] == 1


async def test_a_credential_that_never_leaves_is_used_here(caller: ProxyCaller, sandbox: httpx2.Client) -> None:
    """``proxy_only``: 403 from the token route and the authorization route, 200 through the proxy."""
    key = sandbox.post("/control/keys", json={"kind": "api_key"}).json()["api_key"]
    connection = await caller.connect("practice-key-sealed", api_key=key)
    url = f"{str(sandbox.base_url).rstrip('/')}/keys/header/messages"
    asked = await caller.app.call("POST", f"/v1/connections/{connection}/authorization", {"method": "GET", "url": url})
    for refused in (asked, await caller.app.fetch(connection)):
        assert (refused.status_code, code_of(refused)) == (403, "forbidden")
    assert (await caller.http.get(f"/proxy/{connection}/messages")).status_code == 200


@pytest.mark.parametrize("provider", ["practice-custom", "practice-aws"])
async def test_a_signature_covers_the_body(caller: ProxyCaller, sandbox: httpx2.Client, provider: str) -> None:
    """It is read first, also where it comes in pieces; and what the caller signed itself is dropped."""
    kind = {"practice-custom": "custom", "practice-aws": "aws_sigv4"}[provider]
    made = sandbox.post("/control/keys", json={"kind": kind}).raise_for_status().json()
    connection = await caller.connect(provider, **made)

    async def pieces() -> Any:
        yield b"hello "
        yield b"world"

    path = f"/proxy/{connection}/messages?a=%20b&c"
    headers = {"X-Signature": "mine", "X-Timestamp": "1", "X-Amz-Date": "mine"}
    for content in (pieces(), b"hello world"):
        answer = await caller.http.post(path, content=content, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"received": 11}), answer.text
    assert (await caller.http.get(path)).status_code == 200
    refused = await caller.http.post(path, content=b"x" * (10 * 2**20 + 1))
    assert (refused.status_code, code_of(refused)) == (413, "payload_too_large")


async def test_a_body_has_the_size_that_the_entry_allows(caller: ProxyCaller) -> None:
    """413: announced, before anything is sent; in pieces, while they come."""  # S11
    connection = await caller.connect("little")

    async def pieces(last: int) -> Any:
        for size in (1000, 1000, 1000, 1000, last):
            yield b"x" * size

    for too_much in (b"x" * 5001, pieces(1001)):
        refused = await caller.http.post(f"/proxy/{connection}/echo", content=too_much)
        assert (refused.status_code, code_of(refused)) == (413, "payload_too_large")
    assert len(await caller.events(connection)) == 1
    for allowed in (b"x" * 5000, pieces(1000)):
        passed = await caller.http.post(f"/proxy/{connection}/echo", content=allowed)
        assert (passed.status_code, passed.json()["length"]) == (200, 5000)


async def test_who_asks_is_judged_before_a_body_is_read(
    caller: ProxyCaller, make_client: MakeClient, rough: PracticeServer
) -> None:
    """Authentication, scope, existence, then where the request goes; the caller may be sending still."""
    connection, unscoped = await caller.connect("little"), await make_client("other", scopes=("tokens:read",))
    own, nowhere = caller.authorization, "con_" + "0" * 22
    for authorization, target, status in (
        ("Bearer bat_unknown", nowhere, 401),
        (f"Bearer {await unscoped.broker_token()}", nowhere, 403),
        (own, nowhere, 404),
        (own, connection, 400),
    ):
        caller.authorization = authorization
        line = f"POST /proxy/{target}/%2e%2e HTTP/1.1"
        answered, _ = await caller.write(line, "Content-Length: 10000000", body=b"only the beginning")
        assert answered == status


async def test_the_event_is_there_before_the_provider_is_asked(caller: ProxyCaller, rough: PracticeServer) -> None:
    """Method, host, path; neither the query nor a header nor the credential is written anywhere."""  # K1
    connection = await caller.connect("rough-query", api_key="planted-key")
    written: list[dict[str, Any]] = []

    async def look(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        written.extend(await caller.events(connection))
        writer.write(raw_answer(200))

    rough.answers["/base/a"] = look
    headers = {"X-Mine": "planted-header"}
    await caller.http.put(f"/proxy/{connection}/a?planted=query", content=b"planted-body", headers=headers)
    (event,) = written
    assert event["data"] == {
        "provider": "rough-query",
        "generation": 1,
        "method": "PUT",
        "host": f"127.0.0.1:{rough.port}",
        "path": "/base/a",
    }
    assert b"planted" in rough.asked[0].target.encode()


async def test_nothing_of_a_request_is_stored(
    caller: ProxyCaller, rough: PracticeServer, raw_store: redis.Redis
) -> None:
    """Neither its body nor its headers nor the answer."""  # K1
    rough.answers["/base/a"] = raw_answer(200, b"planted-answer", {"x-planted": "planted"})
    await caller.http.post(f"/proxy/{await caller.connect()}/a?planted", content=b"planted", headers={"X": "planted"})
    assert b"planted" not in everything_in(raw_store)


async def test_an_allow_list_holds_for_the_proxy(
    caller: ProxyCaller, make_client: MakeClient, rough: PracticeServer
) -> None:
    """403 for every other request, however it is disguised; the provider is not asked, and nothing is written down."""
    connection = await caller.connect()
    held = await make_client("held", allow=("GET /user", "* /public/**"))
    caller.authorization = f"Bearer {await held.broker_token()}"
    for line in ("GET /user", "GET /user?x=../admin", "DELETE /public/a/b", "GET /public/"):
        method, _, path = line.partition(" ")
        assert (await caller.write(f"{method} /proxy/{connection}{path} HTTP/1.1"))[0] == 404, line
    passed = len(rough.asked)
    assert passed == 4
    for line in (
        "HEAD /user", "POST /user", "GET /user/", "GET /User", "GET /us%65r", "GET /", "GET /public", "GET /admin",
        "GET /public/../admin", "GET /public/%2e%2e/admin", "GET /public//admin", "GET /public/a%2fb", "GET /public/;",
    ):  # fmt: skip
        method, _, path = line.partition(" ")
        status, said = await caller.write(f"{method} /proxy/{connection}{path} HTTP/1.1")
        assert status == 403, (line, said)
    assert len(rough.asked) == passed
    assert len(await caller.events(connection)) == passed


async def test_an_allow_list_holds_for_authorizations(
    caller: ProxyCaller, make_client: MakeClient, sandbox: httpx2.Client
) -> None:
    """Signed requests within the list; never what would be good for others as well: a token, a key."""
    held = await make_client("held", allow=("GET /messages",))
    aws = sandbox.post("/control/keys", json={"kind": "aws_sigv4"}).json()
    key = sandbox.post("/control/keys", json={"kind": "api_key"}).json()
    signed = await caller.connect("practice-aws", **aws)
    bearer = await caller.connect("practice-bearer", **key)

    async def status(connection: str, method: str, path: str) -> int:
        url = f"{str(sandbox.base_url).rstrip('/')}{path}"
        body = {"method": method, "url": url}
        return (await held.call("POST", f"/v1/connections/{connection}/authorization", body)).status_code

    assert await status(signed, "GET", "/keys/aws/messages?x=1") == 200
    for method, path in (
        ("POST", "/keys/aws/messages"), ("GET", "/keys/aws/whoami"), ("GET", "/messages"), ("GET", "/keys/aws"),
        ("GET", "/keys/aws/messages/"), ("GET", "/keys/aws//messages"),
    ):  # fmt: skip
        assert await status(signed, method, path) == 403, path
    assert await status(bearer, "GET", "/keys/bearer/messages") == 403

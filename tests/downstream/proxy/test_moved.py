"""Connections that are authorized anew with other parameters: what is remembered of where their API is, is old then."""

from dataclasses import replace

import pytest
import redis

from broker.app.heart import Heart
from broker.models.event import Event
from broker.models.ids import new_id
from tests.downstream.proxy.caller import ProxyCaller
from tests.downstream.watching import watching
from tests.journey import MakeClient
from tests.upstream.practice_server import PracticeServer


async def connect(caller: ProxyCaller, provider: str, parameters: dict[str, str], **credentials: str) -> str:
    """A connection with these parameters; answers its id."""
    body = {"provider": provider, "subject": "ann", "parameters": parameters, "credentials": credentials}
    answer = await caller.app.call("POST", "/v1/connections", {**body, "validate": False})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def move(heart: Heart, connection_id: str, **parameters: str) -> None:
    """Another replica stores a new authorization of the connection, with other parameters."""
    found = await heart.records.read_with_credential(connection_id)
    assert found is not None
    before, credential = found
    assert credential is not None
    after = replace(before, parameters=parameters, grant_id=new_id("grant"), generation=before.generation + 1)
    event = Event.about("connection.renewed", after, at=heart.clock())
    assert (await heart.records.replace(before, after, credential, event)).stored


@pytest.mark.parametrize("body", [b"", b"hello", b"x" * 200_000])
async def test_the_proxy_goes_to_where_the_api_is_now(
    caller: ProxyCaller, heart: Heart, rough: PracticeServer, raw_store: redis.Redis, body: bytes
) -> None:
    """Nothing is sent to where it was; a body that is signed, and was read already, is all there; one event says so."""
    connection = await connect(caller, "wandering", {"place": "here"}, secret="planted")
    await caller.http.post(f"/proxy/{connection}/a", content=body)
    await move(heart, connection, place="there")
    with watching(raw_store) as watched:
        await caller.http.post(f"/proxy/{connection}/a", content=body)
    assert watched.commands == ["release", "HMGET", "release"]
    await caller.http.post(f"/proxy/{connection}/a", content=body)
    assert [asked.target for asked in rough.asked] == ["/here/a", "/there/a", "/there/a"]
    assert [asked.body for asked in rough.asked] == [body] * 3
    written = sorted(event["data"]["path"] for event in await caller.events(connection))
    assert written == ["/here/a", "/there/a", "/there/a"]
    assert len({asked.headers["x-sum"] for asked in rough.asked}) == 2


async def test_an_authorization_is_judged_by_where_the_api_is_now(caller: ProxyCaller, heart: Heart) -> None:
    """A request to the former host gets nothing, and nothing is written down of it; one to the new host does."""  # G4
    connection = await connect(caller, "hosted", {"host": "one.example"})

    async def status(host: str) -> int:
        request = {"method": "GET", "url": f"https://{host}/api/a"}
        return (await caller.app.call("POST", f"/v1/connections/{connection}/authorization", request)).status_code

    assert [await status("one.example"), await status("two.example")] == [200, 403]
    await move(heart, connection, host="two.example")
    assert await status("one.example") == 403
    assert await status("two.example") == 200
    await move(heart, connection, host="three.example")
    assert await status("three.example") == 200
    found = (await caller.app.call("GET", f"/v1/connections/{connection}/events")).json()["items"]
    released = {event["id"]: event["data"]["host"] for event in found if event["type"] == "authorization.released"}
    assert sorted(released.values()) == ["one.example", "three.example", "two.example"]


async def test_an_allow_list_is_held_against_the_path_below_where_the_api_is_now(
    caller: ProxyCaller, heart: Heart, make_client: MakeClient, rough: PracticeServer
) -> None:
    """The same address is within it before, and beyond it after."""
    connection = await connect(caller, "roaming", {"place": "here"})
    held = await make_client("held", allow=("GET /a",))

    async def status(place: str) -> int:
        request = {"method": "GET", "url": f"{rough.origin}/{place}/a"}
        return (await held.call("POST", f"/v1/connections/{connection}/authorization", request)).status_code

    assert [await status("here"), await status("there")] == [200, 403]
    await move(heart, connection, place="there")
    assert [await status("there"), await status("here")] == [200, 403]

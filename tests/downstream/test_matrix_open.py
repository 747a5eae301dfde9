"""The routes that ask no client who it is: those for anybody, and those for a person with a browser.

There a client's credentials, good or bad, change nothing: they open no more, and they close nothing.
"""

import httpx2
import pytest
import redis

from tests.downstream.members import GRANTS, MakeMember
from tests.downstream.rows import BROWSER, OPEN, Scene
from tests.journey import snapshot
from tests.world import Person, ServiceClient

_OF_THE_REQUEST = {"x-request-id", "date", "content-length", "set-cookie"}


@pytest.mark.parametrize("route", sorted(OPEN))
async def test_anybody_may_ask_and_is_not_asked_who_they_are(
    app: ServiceClient, http: httpx2.AsyncClient, raw_store: redis.Redis, route: str
) -> None:
    """No credential, a good one, and a bad one: one answer, and nothing is written, nor counted as a failure."""
    method, _, path = route.partition(" ")
    good, before = await app.broker_token(), snapshot(raw_store)
    for authorization in (None, f"Bearer {good}", "Bearer bat_" + "x" * 43, "Basic eDp4", "Basic !"):
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = await http.request(method, path, headers=headers)
        assert answer.status_code == OPEN[route]
        assert good not in answer.text
        assert app.client_id not in answer.text
    assert snapshot(raw_store) == before
    assert raw_store.keys("*failure*") == []


@pytest.mark.parametrize("route", sorted(BROWSER))
@pytest.mark.parametrize("grant", GRANTS)
async def test_a_client_is_no_browser(
    scene: Scene, make_member: MakeMember, person: Person, http: httpx2.AsyncClient, route: str, grant: str
) -> None:
    """A page that is a person's who holds the cookie answers a stranger with a broker token of every scope, by whatever
    grant, as it answers any stranger."""  # S14
    member = await make_member(grant)
    left = await person.press(f"/connect/{scene.targets['handle']}")
    state = httpx2.URL(left.headers["location"]).params["state"]
    path = (
        route.partition(" ")[2]
        .replace("{handle}", scene.targets["handle"])
        .replace("{provider}", f"practice?code=x&state={state}")
        .replace("{session_id}", scene.targets["session"])
    )
    answers = [
        await http.request(route.partition(" ")[0], path, headers=headers)
        for headers in ({}, {"Authorization": f"Bearer {member.token}"}, {"Authorization": "Basic eDp4"})
    ]
    assert {answer.status_code for answer in answers} == {BROWSER[route]}
    assert len({_nameless(answer) for answer in answers}) == 1


def _nameless(answer: httpx2.Response) -> str:
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_THE_REQUEST}
    return f"{sorted(headers.items())} {answer.text.replace(answer.headers['x-request-id'], '')}"

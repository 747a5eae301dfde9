"""An app that is removed while its user is under way gets no connection, at whichever step it happens."""

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.models.session import ConnectSession
from tests.journey import NOTHING, exchanges, snapshot
from tests.world import RETURN_URL, Person, ServiceClient


async def session_in(heart: Heart, session_id: str) -> ConnectSession:
    """The session as the store has it; its client can't be asked any more."""
    session = await heart.opening.read(session_id)
    assert session is not None
    return session


def assert_not_valid(answer: httpx2.Response) -> None:
    """The page of a link that leads nowhere, and no way back to where the app was."""
    assert answer.status_code == 404
    assert "This link is not valid any more" in answer.text
    assert "location" not in answer.headers
    assert RETURN_URL not in answer.text


async def test_a_removed_apps_link_shows_nothing_and_changes_nothing(
    app: ServiceClient, person: Person, heart: Heart, raw_store: redis.Redis
) -> None:
    """Nobody is asked to agree to what can't be; looking still writes nothing."""  # S13
    opened = await app.open_session()
    await heart.clients.delete(app.client_id)
    before = snapshot(raw_store)
    assert_not_valid(await person.broker.get(opened["connect_url"]))
    assert snapshot(raw_store) == before


@pytest.mark.parametrize("decision", ["continue", "cancel"])
async def test_a_removed_apps_button_leads_nowhere(
    app: ServiceClient, person: Person, heart: Heart, sandbox: httpx2.Client, decision: str
) -> None:
    """The session has failed, and the browser neither goes to the provider nor to where the app was."""  # S13
    opened = await app.open_session()
    await heart.clients.delete(app.client_id)
    assert_not_valid(await person.press(opened["connect_url"], decision))
    session = await session_in(heart, opened["id"])
    assert (session.status, session.error) == ("failed", "client_gone")
    assert sandbox.get("/counters").json()["authorize"] == 0


@pytest.mark.parametrize("completion", ["app", "code", "browser"])
async def test_a_removed_apps_answer_is_not_taken_in(
    app: ServiceClient, person: Person, heart: Heart, sandbox: httpx2.Client, completion: str
) -> None:
    """Removed while the person was at the provider: no code is kept or redeemed, no connection made."""  # S13
    opened = await app.open_session(completion=completion)
    callback = await person.approve(opened["connect_url"])
    await heart.clients.delete(app.client_id)
    assert_not_valid(await person.arrive(callback))
    session = await session_in(heart, opened["id"])
    assert (session.status, session.error, session.connection_id) == ("failed", "client_gone", None)
    assert (await person.arrive(callback)).status_code == 400
    assert exchanges(sandbox) == NOTHING
    found, _ = await heart.directory.page("default", subject=None, wanted=lambda _: True, cursor=None, limit=1)
    assert found == []


async def test_an_ended_session_stays_as_it_ended(
    app: ServiceClient, person: Person, heart: Heart, sandbox: httpx2.Client
) -> None:
    """A link that was used keeps its end when its app goes later."""
    opened = await app.open_session(completion="browser")
    await person.connect(opened["connect_url"])
    await heart.clients.delete(app.client_id)
    assert_not_valid(await person.press(opened["connect_url"]))
    assert (await session_in(heart, opened["id"])).status == "completed"

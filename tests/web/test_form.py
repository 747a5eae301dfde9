"""Connecting by a form: what is asked, what is judged before anything is kept, and what becomes of it."""


from tests.web.forms import ALICE, connect
from tests.world import Person, ServiceClient


async def test_a_key_is_handed_in_and_becomes_a_connection(app: ServiceClient, person: Person) -> None:
    """The app gets a completion code, completes for its signed-in user, and fetches the key."""
    connection = await connect(app, person, "practice-key", {"api_key": ALICE})
    assert connection["credential_type"] == "api_key"
    assert connection["account"]["name"] == "alice@practice.example"
    assert (await app.fetch(connection["id"])).json()["access_token"] == ALICE

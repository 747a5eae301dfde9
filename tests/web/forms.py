"""A person at the form of a connect link, in a browser of their own."""

from typing import Any

import httpx2

from tests.world import PUBLIC_URL, Person, ServiceClient, parameters_of

ALICE, BOB = "pk_practice_alice_0001", "pk_practice_bob_00001"
"""API keys that the practice provider knows."""


async def send(
    person: Person, connect_url: str, credentials: dict[str, str] | None = None, **options: Any
) -> httpx2.Response:
    """Fill the form in and press Connect."""
    headers = {"Origin": PUBLIC_URL, **options.pop("headers", {})}
    form = {f"credentials.{name}": value for name, value in (credentials or {}).items()}
    form |= {f"parameters.{name}": value for name, value in options.pop("parameters", {}).items()}
    decision = options.pop("decision", "continue")
    return await person.broker.post(connect_url, data={**form, "decision": decision}, headers=headers, **options)


async def connect(app: ServiceClient, person: Person, provider: str, credentials: dict[str, str]) -> dict[str, Any]:
    """The whole way by a form; answers the connection."""
    opened = await app.open_session(provider=provider)
    sent = await send(person, opened["connect_url"], credentials)
    assert sent.status_code == 303, sent.text
    returned = parameters_of(sent.headers["location"])
    completed = await app.complete(opened["id"], returned["completion_code"])
    assert completed.status_code == 200, completed.text
    connection: dict[str, Any] = completed.json()["connection"]
    return connection

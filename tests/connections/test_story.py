"""The main story, from a connect link to a revoked account, over the real provider."""

from collections.abc import Awaitable, Callable

import httpx2

from tests.world import Person, ServiceClient


async def test_an_account_is_connected_used_refreshed_and_disconnected(
    make_client: Callable[..., Awaitable[ServiceClient]], http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """A person connects; the app redeems, refreshes and disconnects; the provider saw exactly that."""
    app = await make_client()
    connection = await app.connect(Person(http), scopes=["profile", "messages.read"])
    assert connection["account"] == {"id": "usr_1001", "name": "alice@practice.example"}

    first = (await app.fetch(connection["id"])).json()
    called = httpx2.get(
        f"{sandbox.base_url}/api/messages", headers={"Authorization": f"Bearer {first['access_token']}"}
    )
    assert called.status_code == 200

    second = (await app.fetch(connection["id"], stale_generation=first["generation"])).json()
    assert second["generation"] == first["generation"] + 1
    assert second["access_token"] != first["access_token"]

    ended = await app.call("DELETE", f"/v1/connections/{connection['id']}")
    assert ended.json()["upstream"]["outcome"] == "revoked"
    assert (await app.fetch(connection["id"])).status_code == 409
    counters = sandbox.get("/counters").json()
    assert counters["token"]["authorization_code"] == {"ok": 1, "error": 0}
    assert counters["token"]["refresh_token"] == {"ok": 1, "error": 0}
    assert counters["revoke"] == 1

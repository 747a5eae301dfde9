"""Calls of the broker that several measurements begin with."""

import httpx2

from bench.world import World


def authorization(running: World, http: httpx2.Client) -> dict[str, str]:
    """The header of a client of the broker, with every scope."""
    answer = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=running.client())
    return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}


def connection_of_app(http: httpx2.Client, headers: dict[str, str]) -> str:
    """A connection of the app itself; answers its id."""
    body = {"provider": "practice", "subject": "bench", "credentials": {}}
    answer = http.post("/v1/connections", headers=headers, json=body).raise_for_status()
    return str(answer.json()["id"])


def connection_of_person(http: httpx2.Client, headers: dict[str, str]) -> str:
    """A connection by the browser flow, with the provider consenting by itself; answers its id."""
    body = {"provider": "practice", "subject": "bench"}
    opened = http.post("/v1/connect-sessions", headers=headers, json=body).raise_for_status().json()
    with httpx2.Client(trust_env=False) as browser:
        left = browser.post(opened["connect_url"], data={"decision": "continue"})
        consented = browser.get(left.headers["location"])
        arrived = browser.get(consented.headers["location"])
    code = httpx2.URL(arrived.headers["location"]).params["completion_code"]
    proof = {"completion_code": code, "subject": "bench"}
    completed = http.post(f"/v1/connect-sessions/{opened['id']}/complete", headers=headers, json=proof)
    return str(completed.raise_for_status().json()["connection"]["id"])

"""Calls of the broker that several measurements begin with."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2

from bench.world import World

_LIFETIME = 3600
_AT_ONCE = 8


def authorization(running: World, http: httpx2.Client) -> dict[str, str]:
    """The header of a client of the broker, with every scope."""
    return _header(http, running.client())


def authorizations(running: World, http: httpx2.Client, number: int) -> list[dict[str, str]]:
    """The headers of so many clients of the broker, each with a broker token of its own."""
    admin = running.register("admin", "--scope", "admin")
    headers = _header(http, (admin["client_id"], admin["client_secret"]))

    def caller(which: int) -> dict[str, str]:
        body = {"name": f"caller {which}", "scope": "tokens:read"}
        made = http.post("/v1/clients", headers=headers, json=body).raise_for_status().json()
        return _header(http, (made["client_id"], made["client_secret"]))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(caller, range(number)))


def _header(http: httpx2.Client, client: tuple[str, str]) -> dict[str, str]:
    answer = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client)
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


def connections(running: World, http: httpx2.Client, headers: dict[str, str], number: int) -> list[str]:
    """So many connections with a fresh access token and a refresh token, handed in; answers their ids."""
    minted = httpx2.post(f"{running.provider_url}/control/grants", json={"count": number}, trust_env=False, timeout=60)
    ends = int(time.time()) + _LIFETIME

    def made(which: int, tokens: dict[str, str]) -> str:
        body = {"provider": "practice", "subject": f"person {which}", "validate": False}
        answer = http.post(
            "/v1/connections", headers=headers, json={**body, "credentials": {**tokens, "expires_at": ends}}
        )
        return str(answer.raise_for_status().json()["id"])

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(made, range(number), minted.raise_for_status().json()))

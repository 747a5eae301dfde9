"""Clients over HTTP: made with a secret that is shown once, seen and removed within the tenant."""

from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from tests.downstream.answers import code_of
from tests.journey import MakeClient
from tests.world import ServiceClient


async def test_a_client_is_made_and_its_secret_shown_once(app: ServiceClient, http: httpx2.AsyncClient) -> None:
    """201 and no-store; the secret works, and is in no other answer."""  # K1
    order = {"name": "worker", "scope": "references:redeem tokens:read", "return_urls": ["https://w.example/back"]}
    answer = await app.call("POST", "/v1/clients", order)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    secret = body.pop("client_secret")
    assert secret.startswith("bcs_")
    assert {name: body[name] for name in ("name", "tenant", "scope", "return_urls", "providers")} == {
        "name": "worker",
        "tenant": "default",
        "scope": "tokens:read references:redeem",
        "return_urls": ["https://w.example/back"],
        "providers": None,
    }
    worker = ServiceClient(http, body["client_id"], secret)
    assert (await worker.token(grant_type="client_credentials")).status_code == 200
    listed = await app.call("GET", "/v1/clients")
    assert body in listed.json()["items"]
    assert secret not in listed.text
    assert "digest" not in listed.text


async def test_a_client_is_made_in_the_tenant_of_its_maker(make_client: MakeClient, heart: Heart) -> None:
    """There is no way to name another one."""  # S5
    admin = await make_client("admin", tenant="acme", scopes=("admin",))
    made = await admin.call("POST", "/v1/clients", {"name": "new", "scope": "connect"})
    assert made.json()["tenant"] == "acme"
    refused = await admin.call("POST", "/v1/clients", {"name": "new", "scope": "connect", "tenant": "default"})
    assert (refused.status_code, code_of(refused)) == (400, "invalid_request")
    assert len(await heart.clients.list("default")) == 0


@pytest.mark.parametrize("handed_out", [None, ["practice"], ["practice", "practice-two"]])
async def test_nobody_hands_out_providers_that_they_were_not_given(
    make_client: MakeClient, heart: Heart, handed_out: list[str] | None
) -> None:
    """Not every provider, not another one, not one among others."""
    admin = await make_client("admin", providers=("practice-two",))
    answer = await admin.call("POST", "/v1/clients", {"name": "new", "scope": "connect", "providers": handed_out})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json()["errors"]] == ["providers"]
    assert len(await heart.clients.list()) == 1
    order = {"name": "new", "scope": "connect", "providers": ["practice-two"]}
    assert (await admin.call("POST", "/v1/clients", order)).json()["providers"] == ["practice-two"]


@pytest.mark.parametrize(
    "change",
    [{"scope": "connect everything"}, {"scope": " "}, {"name": " x"}, {"name": "x\n"}, {"providers": ["nowhere"]},
     {"return_urls": ["http://w.example/back"]}, {"completion": "app"}, {"secret": "x"}],
)  # fmt: skip
async def test_a_client_that_makes_no_sense_is_refused(
    app: ServiceClient, heart: Heart, change: dict[str, Any]
) -> None:
    """400, naming what is wrong; no client is left behind."""
    answer = await app.call("POST", "/v1/clients", {"name": "new", "scope": "connect", **change})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert answer.json()["errors"]
    assert len(await heart.clients.list()) == 1


async def test_a_client_is_removed_once(app: ServiceClient, make_client: MakeClient, heart: Heart) -> None:
    """Its token stops working within seconds; a second time there is nothing to remove."""  # S13
    worker = await make_client("worker")
    assert (await worker.call("GET", "/v1/connections")).status_code == 200
    assert (await app.call("DELETE", f"/v1/clients/{worker.client_id}")).status_code == 200
    again = await app.call("DELETE", f"/v1/clients/{worker.client_id}")
    assert (again.status_code, code_of(again)) == (404, "not_found")
    assert (await worker.token(grant_type="client_credentials")).status_code == 401
    await heart.authenticator.revalidate()
    assert (await worker.call("GET", "/v1/connections")).status_code == 401

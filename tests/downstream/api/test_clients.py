"""Clients over HTTP: made with a secret that is shown once, seen and removed within the tenant."""

from typing import Any

import httpx2
import pytest

from broker.access.registration import WORKLOADS_AT_MOST
from broker.app.heart import Heart
from tests.access.keys import SIGNING, public_set
from tests.downstream.answers import code_of
from tests.journey import MakeClient
from tests.world import ServiceClient

POD = {
    "issuer": "https://cluster.example",
    "subject": "system:serviceaccount:prod:billing",
    "audience": "https://broker.example",
}


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


async def test_a_client_may_be_made_without_a_secret(app: ServiceClient, heart: Heart) -> None:
    """With keys, an address of keys or workloads: ``client_secret`` is ``null``, and what stands for it is shown."""
    shown = []
    for proof in (
        {"jwks": public_set(), "workloads": [POD, {**POD, "subject": "other", "jwks": public_set()}]},
        {"jwks_uri": "https://w.example/jwks.json", "jwks": None},
        {"workloads": [POD]},
    ):
        answer = await app.call("POST", "/v1/clients", {"name": "worker", "scope": "connect", **proof})
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert body.pop("client_secret") is None
        assert body in (await app.call("GET", "/v1/clients")).json()["items"]
        shown.append([body[name] for name in ("authentication", "jwks_uri", "key_ids", "workloads")])
        stored = await heart.clients.read(body["client_id"])
        assert stored is not None
        assert stored.secret_digests == ()
    assert shown == [
        [
            ["private_key_jwt", "workload"],
            None,
            ["one"],
            [{**POD, "key_ids": None}, {**POD, "subject": "other", "key_ids": ["one"]}],
        ],
        [["private_key_jwt"], "https://w.example/jwks.json", [], []],
        [["workload"], None, [], [{**POD, "key_ids": None}]],
    ]


@pytest.mark.parametrize(
    ("proof", "fields"),
    [
        ({"jwks": []}, ["jwks"]),
        ({"jwks": "{}"}, ["jwks"]),
        ({"jwks": {"keys": "x"}}, ["jwks"]),
        ({"jwks": {"keys": [{}, 1, None]}}, ["jwks.keys.0", "jwks.keys.1", "jwks.keys.2"]),
        ({"jwks": {"keys": public_set()["keys"] * 2}}, ["jwks"]),
        ({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, ["jwks.keys.0"]),
        ({"jwks": public_set(), "jwks_uri": "https://w.example/k"}, ["jwks_uri"]),
        ({"jwks_uri": ""}, ["jwks_uri"]),
        ({"jwks_uri": "http://10.0.0.1/k"}, ["jwks_uri"]),
        ({"jwks_uri": "https://w.example/" + "x" * 2048}, ["jwks_uri"]),
        ({"workloads": [{"issuer": "https://c.example", "subject": "x"}]}, ["workloads.0.audience"]),
        ({"workloads": [{**POD, "keys": []}]}, ["workloads.0.keys"]),
        ({"workloads": [{**POD, "issuer": "http://c.example"}, {**POD, "jwks": {}}]},
         ["workloads.0.issuer", "workloads.1.jwks"]),
        ({"workloads": [POD, POD]}, ["workloads"]),
        ({"workloads": [{**POD, "subject": str(n)} for n in range(WORKLOADS_AT_MOST + 1)]}, ["workloads"]),
        ({"jwks": {}, "jwks_uri": "x", "workloads": [{**POD, "subject": " "}], "scope": "everything"},
         ["scope", "jwks_uri", "jwks_uri", "jwks", "workloads.0.subject"]),
    ],
)  # fmt: skip
async def test_a_proof_that_makes_no_sense_is_refused(
    app: ServiceClient, heart: Heart, proof: dict[str, Any], fields: list[str]
) -> None:
    """400, every fault under the field that it is about; no client is left behind."""
    answer = await app.call("POST", "/v1/clients", {"name": "new", "scope": "connect", **proof})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json()["errors"]] == fields
    assert len(await heart.clients.list()) == 1


async def test_a_private_key_is_refused_and_not_repeated(app: ServiceClient, heart: Heart) -> None:
    """Whoever sends one by mistake hears what it is; the answer has nothing of it."""  # K1
    private = SIGNING.as_dict(private=True)
    for proof in ({"jwks": {"keys": [private]}}, {"workloads": [{**POD, "jwks": {"keys": [private]}}]}):
        answer = await app.call("POST", "/v1/clients", {"name": "new", "scope": "connect", **proof})
        assert answer.status_code == 400
        assert "private key" in answer.json()["errors"][0]["message"]
        assert str(private["d"]) not in answer.text
        assert str(private["x"]) not in answer.text
    assert len(await heart.clients.list()) == 1


@pytest.mark.parametrize("empty", [{"workloads": []}, {"jwks": None, "jwks_uri": None, "workloads": None}, {}])
async def test_a_client_without_another_proof_has_a_secret(app: ServiceClient, empty: dict[str, Any]) -> None:
    """Nobody ends up with a client that nobody can be."""
    answer = await app.call("POST", "/v1/clients", {"name": "new", "scope": "connect", **empty})
    assert answer.json()["client_secret"].startswith("bcs_")
    assert answer.json()["authentication"] == ["client_secret"]


async def test_who_made_and_removed_a_client_is_on_record(app: ServiceClient, heart: Heart) -> None:
    """The administrator's id and request, in the tenant's events; never the secret."""  # K1
    made = await app.call("POST", "/v1/clients", {"name": "new", "scope": "connect"})
    removed = await app.call("DELETE", f"/v1/clients/{made.json()['client_id']}")
    await heart.bookkeeping.settle_all()
    answer = await app.call("GET", "/v1/events")
    events = {
        event["type"]: event
        for event in answer.json()["items"]
        if event["data"].get("client") == made.json()["client_id"]
    }
    assert set(events) == {"client.created", "client.deleted"}
    for event_type, request in (("client.created", made), ("client.deleted", removed)):
        assert events[event_type]["client_id"] == app.client_id
        assert events[event_type]["request_id"] == request.headers["x-request-id"]
    assert made.json()["client_secret"] not in answer.text

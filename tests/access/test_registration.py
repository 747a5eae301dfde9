"""What a client may be registered with instead of a secret."""

from typing import Any

import pytest
import redis

from broker.access.registration import WORKLOADS_AT_MOST
from broker.app.heart import Heart
from broker.errors import InvalidRequest
from broker.models.access import Workload
from tests.access.keys import SIGNING, public_set
from tests.journey import everything_in

POD = Workload("https://cluster.example", "system:serviceaccount:prod:billing", "https://broker.example")
ADDRESS = "https://app.example/jwks.json"


@pytest.mark.parametrize("proof", [{"jwks": public_set()}, {"jwks_uri": ADDRESS}, {"workloads": [POD]}])
async def test_a_client_that_proves_itself_otherwise_has_no_secret(heart: Heart, proof: dict[str, Any]) -> None:
    """What does not exist can't leak; what was registered is read again as it was."""
    client, secret = await heart.clients.create("app", scopes=["connect"], **proof)
    assert (secret, client.secret_digests) == ("", ())
    assert await heart.clients.read(client.client_id) == client


async def test_a_client_may_have_keys_and_a_platform(heart: Heart) -> None:
    """Each is a way of its own."""
    client, _ = await heart.clients.create("app", scopes=["connect"], jwks=public_set(), workloads=[POD])
    assert client.authentication == ("private_key_jwt", "workload")


async def test_a_private_key_is_refused_and_stays_unsaid(heart: Heart, raw_store: redis.Redis) -> None:
    """Whoever registers one by mistake hears so; it is neither stored nor repeated."""  # K1
    private = SIGNING.as_dict(private=True)
    for proof in ({"jwks": {"keys": [private]}}, {"workloads": [Workload(*_names(), {"keys": [private]})]}):
        with pytest.raises(InvalidRequest) as refused:
            await heart.clients.create("app", scopes=["connect"], **proof)
        assert "private key" in refused.value.faults[0].message
        assert str(private["d"]) not in repr(refused.value.faults)
    assert str(private["d"]).encode() not in everything_in(raw_store)
    assert await heart.clients.list() == []


@pytest.mark.parametrize(
    ("proof", "fields"),
    [
        ({"jwks": public_set(), "jwks_uri": ADDRESS}, ["jwks_uri"]),
        ({"jwks": {}}, ["jwks"]),
        ({"jwks_uri": "http://app.example/jwks.json"}, ["jwks_uri"]),
        ({"jwks_uri": "https://user@app.example/"}, ["jwks_uri"]),
        ({"jwks_uri": "https://app.example/" + "x" * 2048}, ["jwks_uri"]),
        ({"workloads": [Workload("http://cluster.example", "", " a")]},
         ["workloads.0.issuer", "workloads.0.subject", "workloads.0.audience"]),
        ({"workloads": [Workload("https://cluster.example", "x\n", "y" * 1025)]},
         ["workloads.0.subject", "workloads.0.audience"]),
        ({"workloads": [Workload(f"https://cluster.example{end}", "x", "y") for end in ("?a=b", "#a", "/?", " ")]},
         ["workloads.0.issuer", "workloads.1.issuer", "workloads.2.issuer", "workloads.3.issuer"]),
        ({"workloads": [POD, POD]}, ["workloads"]),
        ({"workloads": [Workload(*("https://c.example", str(n), "a")) for n in range(WORKLOADS_AT_MOST + 1)]},
         ["workloads"]),
    ],
)  # fmt: skip
async def test_what_proves_nothing_is_refused(heart: Heart, proof: dict[str, Any], fields: list[str]) -> None:
    """Every fault at once, under the field that it is about."""
    with pytest.raises(InvalidRequest) as refused:
        await heart.clients.create("app", scopes=["connect"], **proof)
    assert [fault.field for fault in refused.value.faults] == fields


def _names() -> tuple[str, str, str]:
    return POD.issuer, POD.subject, POD.audience

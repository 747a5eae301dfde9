"""Token exchange (RFC 8693): its parameters, its answer, its errors."""

from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.models.access import Caller, Reach
from tests.downstream.answers import oauth_error_of
from tests.downstream.oauth.calls import introspect, reference_for
from tests.journey import MakeClient
from tests.world import REFERENCE_TYPE, TOKEN_EXCHANGE, FakeClock, ServiceClient

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
async def reference(app: ServiceClient, connection: dict[str, Any]) -> str:
    """A reference that the app itself can redeem, once."""
    return await reference_for(app, connection, app)


async def test_a_reference_is_exchanged_for_the_access_token(
    app: ServiceClient, connection: dict[str, Any], reference: str, sandbox: httpx2.Client
) -> None:
    """Every member of RFC 8693 §2.2.1; the token is the provider's, and works there."""
    answer = await app.redeem(reference)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    called = sandbox.get("/api/messages", headers={"Authorization": f"Bearer {body.pop('access_token')}"})
    assert called.status_code == 200
    assert body == {
        "issued_token_type": ACCESS_TOKEN_TYPE,
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "profile messages.read",
        "connection_id": connection["id"],
    }


@pytest.mark.parametrize("missing", ["subject_token", "subject_token_type"])
async def test_the_subject_token_and_its_type_are_required(app: ServiceClient, reference: str, missing: str) -> None:
    """RFC 8693 §2.1; the answer names what is missing."""
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": reference, "subject_token_type": REFERENCE_TYPE}
    answer = await app.token(**{name: value for name, value in form.items() if name != missing})
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert missing in answer.json()["error_description"]
    assert (await app.redeem(reference)).status_code == 200


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"subject_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"actor_token": "x", "actor_token_type": ACCESS_TOKEN_TYPE}, "invalid_request"),
        ({"audience": "https://api.example"}, "invalid_target"),
        ({"resource": "https://api.example"}, "invalid_target"),
        ({"min_ttl": "-1"}, "invalid_request"),
        ({"min_ttl": "1.5"}, "invalid_request"),
        ({"min_ttl": "x"}, "invalid_request"),
        ({"min_ttl": "٣"}, "invalid_request"),
        ({"min_ttl": "9" * 5000}, "invalid_request"),
        ({"min_ttl": "86401"}, "invalid_request"),
    ],
)
async def test_what_is_not_supported_is_refused_and_spends_nothing(
    app: ServiceClient, reference: str, parameters: dict[str, str], error: str
) -> None:
    """RFC 8693 §2.2.2; the reference is as good as before."""  # S7
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": reference, "subject_token_type": REFERENCE_TYPE}
    answer = await app.token(**{**form, **parameters})
    assert (answer.status_code, oauth_error_of(answer)) == (400, error)
    assert (await app.redeem(reference)).status_code == 200


async def test_the_token_type_asked_for_may_be_named(app: ServiceClient, reference: str) -> None:
    """If it is the one there is."""
    assert (await app.redeem(reference, requested_token_type=ACCESS_TOKEN_TYPE)).status_code == 200


async def test_redeeming_takes_its_scope(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient
) -> None:
    """RFC 6749 §5.2 ``unauthorized_client``; the reference stays whole."""
    reader = await make_client("reader", scopes=("tokens:read",))
    reference = await reference_for(app, connection, reader)
    answer = await reader.redeem(reference)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "unauthorized_client")
    assert (await introspect(reader, reference)).json()["remaining_uses"] == 1


async def test_min_ttl_asks_for_a_token_that_lives_that_long(
    app: ServiceClient, reference: str, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """A token that would end before is refreshed first; the reference is spent once."""
    clock.advance(seconds=100)
    answer = await app.redeem(reference, min_ttl="3501")
    assert answer.json()["expires_in"] == 3600
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 2, "error": 0}
    assert (await app.redeem(reference)).status_code == 400


async def test_a_token_that_lives_long_enough_is_not_refreshed(
    app: ServiceClient, reference: str, clock: FakeClock, sandbox: httpx2.Client
) -> None:
    """Nothing is added to what was asked for."""
    clock.advance(seconds=100)
    assert (await app.redeem(reference, min_ttl="3499")).json()["expires_in"] == 3500
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 1, "error": 0}


async def test_a_dead_connection_is_invalid_request_with_its_code(
    app: ServiceClient, connection: dict[str, Any], reference: str
) -> None:
    """Only who holds the reference learns it."""
    await app.call("DELETE", f"/v1/connections/{connection['id']}")
    answer = await app.redeem(reference)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert answer.json()["code"] == "reauth_required"


async def test_a_provider_whose_credentials_never_leave_gives_none_by_reference(
    app: ServiceClient, heart: Heart
) -> None:
    """``release: proxy_only`` holds for this grant, too."""
    order = {"provider": "practice-sealed", "subject": "ann", "credentials": {}}
    sealed = (await app.call("POST", "/v1/connections", order)).json()
    issued = await app.call("POST", f"/v1/connections/{sealed['id']}/references", {"audience": app.client_id})
    assert (issued.status_code, issued.json()["code"]) == (403, "forbidden")
    # Issued before the entry said so.
    connection = await heart.records.read(sealed["id"])
    assert connection is not None
    reference = await heart.references.issue(
        Caller(app.client_id, frozenset(), Reach("default", None)),
        connection,
        audience=app.client_id,
        expires_in=300,
        max_uses=1,
        request_id=None,
    )
    answer = await app.redeem(reference)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert answer.json()["code"] == "forbidden"
    assert "pat_" not in answer.text

"""Introspection (RFC 7662) and revocation (RFC 7009)."""

import httpx2
import pytest

from broker.sandbox.app import create_app
from broker.sandbox.behaviour import Behaviour
from broker.sandbox.clients import Client
from broker.sandbox.provider import Provider
from tests.sandbox.app import CREDENTIALS, App


def introspect(app: App, token: str) -> dict[str, object]:
    response = app.http.post("/introspect", data={"token": token}, auth=CREDENTIALS)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, object] = response.json()
    return body


def revoke(app: App, token: str, **form: str) -> httpx2.Response:
    return app.http.post("/revoke", data={"token": token, **form}, auth=CREDENTIALS)


def test_a_live_access_token_is_described(app: App, base_url: str) -> None:
    """Active, for whom, for which client, with which scopes and until when."""
    body = introspect(app, app.connect(scope="profile")["access_token"])
    issued_at, expires_at = body.pop("iat"), body.pop("exp")
    assert isinstance(issued_at, int)
    assert expires_at == issued_at + 3600
    assert body == {
        "active": True,
        "iss": base_url,
        "sub": "usr_1001",
        "client_id": "practice-client",
        "scope": "profile",
        "token_type": "Bearer",
    }


def test_a_refresh_token_is_described_while_it_works(app: App) -> None:
    """Active until it has a successor that replaces it at once."""
    app.control(rotation="strict")
    old = app.connect()["refresh_token"]
    assert introspect(app, old)["active"] is True
    new = app.refresh(old).json()["refresh_token"]
    assert introspect(app, old) == {"active": False}
    assert introspect(app, new)["active"] is True
    assert app.counters()["reuse_detected"] == 0


def test_an_unknown_token_is_just_inactive(app: App) -> None:
    """Nothing else is said about it."""
    assert introspect(app, "pat_unknown") == {"active": False}


def test_revoking_a_refresh_token_ends_its_grant(app: App) -> None:
    """Both tokens stop working; another grant of the same person and app lives on."""
    tokens, sibling = app.connect(), app.connect()
    assert revoke(app, tokens["refresh_token"]).status_code == 200
    assert introspect(app, tokens["refresh_token"]) == {"active": False}
    assert app.whoami(tokens["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert app.whoami(sibling["access_token"]).status_code == 200


def test_revoking_an_access_token_ends_only_that_one(app: App) -> None:
    """The refresh token still gets a new one."""
    tokens = app.connect()
    assert revoke(app, tokens["access_token"]).status_code == 200
    assert app.whoami(tokens["access_token"]).status_code == 401
    renewed = app.refresh(tokens["refresh_token"]).json()
    assert app.whoami(renewed["access_token"]).status_code == 200


def test_revoking_an_unknown_token_succeeds(app: App) -> None:
    """RFC 7009 §2.2: there is nothing to do, so it is done; a wrong hint doesn't matter either."""
    tokens = app.connect()
    assert revoke(app, "prt_unknown").status_code == 200
    assert revoke(app, tokens["refresh_token"], token_type_hint="access_token").status_code == 200
    assert app.whoami(tokens["access_token"]).status_code == 401


@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
def test_both_need_an_authenticated_client(app: App, path: str) -> None:
    """A wrong secret is refused, and the token goes on working."""
    tokens = app.connect()
    response = app.http.post(path, data={"token": tokens["refresh_token"]}, auth=(CREDENTIALS[0], "wrong"))
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_client"
    assert app.whoami(tokens["access_token"]).status_code == 200


@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
@pytest.mark.parametrize("body", ["", "token=a&token=a"])
def test_both_need_exactly_one_token(app: App, path: str, body: str) -> None:
    """None, or the parameter twice: invalid_request."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = app.http.post(path, content=body, headers=headers, auth=CREDENTIALS)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"


async def test_a_token_of_another_client_is_unknown() -> None:
    """It looks inactive, and revoking it changes nothing."""
    clients = [Client("client-a", "secret-a"), Client("client-b", "secret-b")]
    provider = Provider(issuer="http://127.0.0.1", clients=clients, behaviour=Behaviour())
    token = provider.grants.issue_to_client("client-a", ("profile",), provider.behaviour).access_token
    transport = httpx2.ASGITransport(app=create_app(provider))
    async with httpx2.AsyncClient(transport=transport, base_url=provider.issuer) as http:
        foreign = await http.post("/introspect", data={"token": token}, auth=("client-b", "secret-b"))
        assert foreign.json() == {"active": False}
        revoked = await http.post("/revoke", data={"token": token}, auth=("client-b", "secret-b"))
        assert revoked.status_code == 200
        own = await http.post("/introspect", data={"token": token}, auth=("client-a", "secret-a"))
        assert own.json()["active"] is True

"""The API that access tokens open."""

import pytest

from tests.sandbox.app import App


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_whoami_says_whom_the_token_speaks_for(app: App) -> None:
    """A stable id, a name and an e-mail address."""
    response = app.whoami(app.connect()["access_token"])
    assert response.json() == {
        "sub": "usr_1001",
        "name": "Alice Practice",
        "email": "alice@practice.example",
    }


@pytest.mark.parametrize("path", ["/whoami", "/api/messages"])
@pytest.mark.parametrize("value", ["Bearer pat_unknown", "Bearer", "Basic cGF0Og==", "pat_unknown"])
def test_a_token_that_is_no_good_is_refused(app: App, path: str, value: str) -> None:
    """401 with a Bearer challenge that says invalid_token (RFC 6750 §3.1)."""
    response = app.http.get(path, headers={"Authorization": value})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_without_a_token_the_challenge_names_no_error(app: App) -> None:
    """RFC 6750 §3.1: whoever sent no credentials just learns the scheme."""
    response = app.http.get("/whoami")
    assert response.status_code == 401
    assert "error=" not in response.headers["www-authenticate"]


def test_a_token_in_the_query_is_not_looked_at(app: App) -> None:
    """The header is the only place."""
    token = app.connect()["access_token"]
    assert app.http.get("/whoami", params={"access_token": token}).status_code == 401


def test_a_refresh_token_opens_nothing(app: App) -> None:
    """It is for the token endpoint only."""
    assert app.whoami(app.connect()["refresh_token"]).status_code == 401


def test_messages_can_be_read_with_their_scope(app: App) -> None:
    """Alice has messages; her token needs messages.read."""
    response = app.http.get("/api/messages", headers=bearer(app.connect(scope="messages.read")["access_token"]))
    assert response.status_code == 200
    assert {"id", "sender", "text"} == set(response.json()["messages"][0])


def test_a_message_can_be_sent_with_its_scope(app: App) -> None:
    """What was posted is in the sender's own box afterwards."""
    headers = bearer(app.connect(scope="messages.read messages.write")["access_token"])
    sent = app.http.post("/api/messages", json={"text": "Ahoy"}, headers=headers)
    assert sent.status_code == 201
    assert sent.json()["sender"] == "alice@practice.example"
    assert sent.json() in app.http.get("/api/messages", headers=headers).json()["messages"]


@pytest.mark.parametrize(("method", "missing"), [("GET", "messages.read"), ("POST", "messages.write")])
def test_without_the_scope_the_api_refuses(app: App, method: str, missing: str) -> None:
    """403 insufficient_scope naming what is missing."""
    headers = bearer(app.connect(scope="profile")["access_token"])
    response = app.http.request(method, "/api/messages", headers=headers)
    assert response.status_code == 403
    assert response.json()["error"] == "insufficient_scope"
    assert f'scope="{missing}"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"text": 1}', b'{"text": ""}', b"\xff"])
def test_a_message_without_text_is_refused(app: App, body: bytes) -> None:
    """400 that names the fault; the box stays as it was."""
    headers = bearer(app.connect(scope="messages.read messages.write")["access_token"])
    before = app.http.get("/api/messages", headers=headers).json()
    assert app.http.post("/api/messages", content=body, headers=headers).status_code == 400
    assert app.http.get("/api/messages", headers=headers).json() == before


def test_a_client_has_a_box_of_its_own(app: App) -> None:
    """A client's own token sees no person's messages."""
    form = {"grant_type": "client_credentials", "scope": "messages.read"}
    token = app.token(form).json()["access_token"]
    assert app.http.get("/api/messages", headers=bearer(token)).json() == {"messages": []}

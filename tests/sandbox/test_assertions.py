"""Apps and service accounts: who signs rightly gets a token, and nobody else."""

import time
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.pems import RSA_PEM
from tests.sandbox.app import App

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def make(app: App, kind: str) -> dict[str, str]:
    """A credential of that kind."""
    made: dict[str, str] = app.http.post("/control/keys", json={"kind": kind}).raise_for_status().json()
    return made


def signed(claims: dict[str, Any], pem: str, **header: str) -> str:
    """A JWT; its times are given in seconds from now."""
    now = int(time.time())
    given = {name: value for name, value in claims.items() if value is not None}
    given |= {name: now + given[name] for name in ("iat", "exp") if isinstance(given.get(name), int)}
    return jwt.encode({"alg": "RS256", **header}, given, RSAKey.import_key(pem), algorithms=["RS256"])


def app_token(app: App, pem: str, installation: str = "1001", body: object = None, **claims: Any) -> httpx2.Response:
    """Ask for an installation's token."""
    token = signed({"iss": "practice-app", "iat": -60, "exp": 540, **claims}, pem)
    headers = {"Authorization": f"Bearer {token}"}
    return app.http.post(f"/api/app/installations/{installation}/access_tokens", json=body, headers=headers)


def account_token(app: App, file: dict[str, str], **claims: Any) -> httpx2.Response:
    """Ask for a service account's token."""
    whole = {
        "iss": file["client_email"], "aud": f"{app.http.base_url}/token".replace("//token", "/token"),
        "scope": "profile messages.read", "iat": 0, "exp": 3600, **claims,
    }  # fmt: skip
    assertion = signed(whole, file["private_key"], kid=file["private_key_id"])
    return app.http.post("/token", data={"grant_type": JWT_BEARER, "assertion": assertion})


def test_an_app_gets_a_token_for_where_it_is_installed(app: App) -> None:
    """201 with its end and its permissions; it opens the API as that account."""
    answer = app_token(app, make(app, "github_app")["private_key"], "1002")
    assert (answer.status_code, answer.json()["permissions"]) == (201, {"profile": "read", "messages": "write"})
    assert answer.json()["expires_at"].endswith("Z")
    assert app.whoami(answer.json()["token"]).json()["sub"] == "usr_1002"
    assert app.counters()["installation_tokens"] == 1


def test_a_token_can_be_narrowed_and_not_widened(app: App) -> None:
    """Permissions that the installation has."""
    pem = make(app, "github_app")["private_key"]
    narrow = app_token(app, pem, body={"permissions": {"messages": "read"}}).json()
    headers = {"Authorization": f"Bearer {narrow['token']}"}
    assert app.http.get("/api/messages", headers=headers).status_code == 200
    assert app.http.post("/api/messages", json={"text": "x"}, headers=headers).status_code == 403
    assert app_token(app, pem, body={"permissions": {"messages": "admin"}}).status_code == 422
    assert app_token(app, pem, body={"permissions": {"issues": "read"}}).status_code == 422
    assert app_token(app, pem, body=[]).status_code == 400


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "another-app"},
        {"exp": -1},
        {"exp": 3600},
        {"iat": 300},
        {"exp": None},
        {"iat": "now"},
    ],
)
def test_an_app_that_does_not_prove_itself_gets_none(app: App, claims: dict[str, Any]) -> None:
    """401: another app, a time that isn't now, too long a life."""
    assert app_token(app, make(app, "github_app")["private_key"], **claims).status_code == 401


def test_an_app_signs_with_its_own_key(app: App) -> None:
    """Any of those that were made, and no other; where it isn't installed there is nothing."""
    first, second = (make(app, "github_app")["private_key"] for _ in range(2))
    assert app_token(app, first).status_code == app_token(app, second).status_code == 201
    assert app_token(app, RSA_PEM).status_code == 401
    assert app_token(app, first, "9999").status_code == 404
    app.control(revoked_keys=["1001"])
    assert app_token(app, first).status_code == 404
    app.control(revoked_keys=["practice-app"])
    assert app_token(app, first, "1002").status_code == 401
    assert app.http.post("/api/app/installations/1001/access_tokens").status_code == 401


def test_a_service_account_gets_a_token_for_itself_or_for_a_person(app: App) -> None:
    """RFC 7523 §2.1; without a refresh token."""
    file = make(app, "google_service_account")
    own = account_token(app, file).json()
    assert "refresh_token" not in own
    assert app.whoami(own["access_token"]).json()["sub"] == file["client_email"]
    persons = account_token(app, file, sub="bob@practice.example").json()
    assert app.whoami(persons["access_token"]).json()["sub"] == "usr_1002"
    assert app.counters()["token"][JWT_BEARER] == {"ok": 2, "error": 0}


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"iss": "robot@elsewhere.example"}, "invalid_grant"),
        ({"aud": "https://elsewhere.example/token"}, "invalid_grant"),
        ({"exp": -1}, "invalid_grant"),
        ({"exp": 7200}, "invalid_grant"),
        ({"iat": None}, "invalid_grant"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"sub": "eve@practice.example"}, "unauthorized_client"),
    ],
)
def test_an_assertion_that_is_wrong_gives_none(app: App, claims: dict[str, Any], error: str) -> None:
    """Another issuer, audience, time, scope or subject."""
    answer = account_token(app, make(app, "google_service_account"), **claims)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_service_account_signs_with_its_own_key(app: App) -> None:
    """Not another account's, not one that was revoked; and what is no JWT is none."""
    file, other = make(app, "google_service_account"), make(app, "google_service_account")
    assert account_token(app, {**file, "private_key": other["private_key"]}).status_code == 400
    app.control(revoked_keys=[file["client_email"]])
    assert account_token(app, file).status_code == 400
    assert account_token(app, other).status_code == 200
    for assertion in ("x", "a.b.c", ""):
        answer = app.http.post("/token", data={"grant_type": JWT_BEARER, "assertion": assertion})
        assert answer.status_code == 400

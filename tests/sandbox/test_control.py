"""Counters and control: what tests and the demo see and change."""

from dataclasses import asdict

import httpx2
import pytest

from broker.sandbox.behaviour import Behaviour
from broker.sandbox.provider import JWT_BEARER
from tests.sandbox.app import CREDENTIALS, DEVICE_GRANT, App


def test_counters_say_what_was_asked(app: App) -> None:
    """Every endpoint and grant type counts, with its outcome; what never happened is 0."""
    tokens = app.connect()
    app.refresh(tokens["refresh_token"])
    app.refresh("prt_unknown")
    app.token({"grant_type": "password"})
    app.poll(app.device()["device_code"])
    app.whoami(tokens["access_token"])
    app.http.get("/api/messages")
    app.http.get("/.well-known/oauth-authorization-server")
    app.http.post("/introspect", data={"token": "x"}, auth=CREDENTIALS)
    app.http.post("/revoke", data={"token": "x"}, auth=CREDENTIALS)
    assert app.counters() == {
        "metadata": 1,
        "authorize": 1,
        "device_authorization": 1,
        "revoke": 1,
        "introspect": 1,
        "whoami": 1,
        "api": 1,
        "installation_tokens": 0,
        "token": {
            "authorization_code": {"ok": 1, "error": 0},
            "refresh_token": {"ok": 1, "error": 1},
            "client_credentials": {"ok": 0, "error": 0},
            DEVICE_GRANT: {"ok": 0, "error": 1},
            JWT_BEARER: {"ok": 0, "error": 0},
            "other": {"ok": 0, "error": 1},
        },
        "token_most_at_once": 1,
        "token_waiting": 0,
        "device_polls": {"ok": 0, "pending": 1, "slow_down": 0, "denied": 0, "expired": 0, "error": 0},
        "early_polls": 0,
        "reuse_detected": 0,
    }


def test_counters_start_again_when_told(app: App) -> None:
    """After a reset nothing has happened yet."""
    app.token({"grant_type": "client_credentials"})
    app.control(reset_counters=True)
    assert app.counters()["token"]["client_credentials"] == {"ok": 0, "error": 0}


def test_access_tokens_expire_on_command(app: App) -> None:
    """Those issued until now stop working; refreshing gets one that works."""
    tokens = app.connect()
    app.control(expire_access_tokens=True)
    assert app.whoami(tokens["access_token"]).status_code == 401
    renewed = app.refresh(tokens["refresh_token"]).json()["access_token"]
    assert app.whoami(renewed).status_code == 200


def test_grants_are_revoked_on_command(app: App) -> None:
    """Refresh tokens issued until now get invalid_grant; the person can connect again."""
    tokens = app.connect()
    app.control(revoke_grants=True)
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert app.refresh(app.connect()["refresh_token"]).status_code == 200


def test_the_life_time_changes_for_what_comes(app: App) -> None:
    """A new access_token_ttl is in the next answer, and control tells all knobs."""
    response = app.http.post("/control", json={"access_token_ttl": 7, "rotation": "grace", "grace": 3})
    assert response.json() == {**asdict(Behaviour()), "access_token_ttl": 7, "rotation": "grace", "grace": 3}
    assert app.token({"grant_type": "client_credentials"}).json()["expires_in"] == 7


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rotatoin": "grace"}, "rotatoin"),
        ({"rotation": "sometimes"}, "rotation"),
        ({"rotation": ["none"]}, "rotation"),
        ({"access_token_ttl": 0}, "access_token_ttl"),
        ({"access_token_ttl": True}, "access_token_ttl"),
        ({"grace": -1}, "grace"),
        ({"grace": 1.5}, "grace"),
        ({"token_delay_ms": "10"}, "token_delay_ms"),
        ({"auto_consent": "yes"}, "auto_consent"),
        ({"revoke_grants": 1}, "revoke_grants"),
        ({"reset": "yes"}, "reset"),
        ({"token_fault": "sulk"}, "token_fault"),
        ({"revocation_ends": "everything"}, "revocation_ends"),
        ({"fault_when": "during"}, "fault_when"),
        ({"faults_left": -1}, "faults_left"),
        ({"granted_scopes": "profile"}, "granted_scopes"),
        ({"granted_scopes": ["everything"]}, "granted_scopes"),
        ({"granted_scopes": [["profile"]]}, "granted_scopes"),
        ({"expires_in": {"json": 5}}, "expires_in"),
        ({"hold_token_answers": 1}, "hold_token_answers"),
        ({"idle_expiry": 0}, "idle_expiry"),
        ({"key_scopes": ["everything"]}, "key_scopes"),
        ({"revoked_keys": "pk_practice"}, "revoked_keys"),
        ({"device_grant": "off"}, "device_grant"),
        ({"device_interval": 0}, "device_interval"),
        ({"device_code_ttl": "900"}, "device_code_ttl"),
        ({"verification_uri_name": "url"}, "verification_uri_name"),
        ({"device_complete_uri": None}, "device_complete_uri"),
        ({"device_scopes": ["everything"]}, "device_scopes"),
        ({"approve_device": True}, "approve_device"),
        ({"deny_device": "WDJB-MJHT"}, "deny_device"),
    ],
)
def test_a_bad_change_names_the_key_and_changes_nothing(app: App, changes: dict[str, object], named: str) -> None:
    """400 with the key at fault; the good changes beside it aren't made either."""
    tokens = app.connect()
    response = app.http.post("/control", json={"expire_access_tokens": True, "code_ttl": 5, **changes})
    assert response.status_code == 400
    assert named in response.json()["error_description"]
    assert app.whoami(tokens["access_token"]).status_code == 200
    assert app.http.post("/control", json={}).json()["code_ttl"] == 600


@pytest.mark.parametrize("body", ["", "[]", "nonsense"])
def test_control_wants_a_json_object(http: httpx2.Client, body: str) -> None:
    """Anything else is refused."""
    response = http.post("/control", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


def test_a_web_page_cannot_send_a_control_request(app: App) -> None:
    """A content type that browsers send across sites without asking first is refused, nothing changes."""
    tokens = app.connect()
    body = '{"revoke_grants": true}'
    response = app.http.post("/control", content=body, headers={"Content-Type": "text/plain"})
    assert response.status_code == 415
    assert app.whoami(tokens["access_token"]).status_code == 200


def test_time_passes_when_told(app: App) -> None:
    """The provider's clock goes ahead: access tokens and idle refresh tokens end without anybody waiting."""
    app.control(idle_expiry=7200)
    tokens = app.connect()
    app.control(clock_ahead=3600)
    assert app.whoami(tokens["access_token"]).status_code == 401
    app.control(clock_ahead=7200)
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

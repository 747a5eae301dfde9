"""The API for those who come without OAuth: every guard lets the right credential in, and no other."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from awscrt import auth as crt  # type: ignore[import-untyped]
from awscrt import http as crt_http

from tests.sandbox.app import App

KEY = "pk_practice_alice_0001"
ALICE = {"sub": "usr_1001", "name": "Alice Practice", "email": "alice@practice.example"}

Request = dict[str, Any]


def basic(user: str, password: str) -> dict[str, str]:
    """The header of RFC 7617."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def own_signature(
    method: str = "GET",
    target: str = "/keys/signed/whoami",
    body: bytes = b"",
    *,
    secret: str = "practice-signing-secret-alice",
    nonce: str | None = None,
    late: int = 0,
) -> dict[str, str]:
    """The headers of the practice provider's own scheme."""
    nonce, moment = nonce or f"nonce-{time.perf_counter_ns()}", str(int(time.time()) - late)
    lines = "\n".join((moment, nonce, method, target, hashlib.sha256(body).hexdigest()))
    signature = hmac.new(secret.encode(), lines.encode(), hashlib.sha256).hexdigest()
    return {"X-Key-Id": "sk_alice", "X-Timestamp": moment, "X-Nonce": nonce, "X-Signature": signature}


def aws_signature(
    http: httpx2.Client,
    method: str = "GET",
    target: str = "/keys/aws/whoami",
    body: bytes = b"",
    *,
    service: str = "practice",
    key: tuple[str, str, str | None] = ("AKIAPRACTICEALICE001", "practice/secret+access+key/of/alice+0001", None),
    late: int = 0,
) -> dict[str, str]:
    """The headers that AWS's own C library makes."""
    host = str(http.base_url).removeprefix("http://").rstrip("/")
    request = crt_http.HttpRequest(method, target, crt_http.HttpHeaders([("host", host)]))
    config = crt.AwsSigningConfig(
        algorithm=crt.AwsSigningAlgorithm.V4,
        signature_type=crt.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=crt.AwsCredentialsProvider.new_static(*key),
        region="anywhere-1",
        service=service,
        date=datetime.fromtimestamp(time.time() - late, UTC),
        use_double_uri_encode=service != "s3",
        should_normalize_uri_path=service != "s3",
        signed_body_value=hashlib.sha256(body).hexdigest(),
        signed_body_header_type=crt.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    signed = crt.aws_sign_request(request, config).result(60)
    return {name: value for name, value in signed.headers if name != "host"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("header/whoami", {"X-Api-Key": KEY}),
        (f"query/whoami?key={KEY}", {}),
        ("bearer/whoami", {"Authorization": f"Bearer {KEY}"}),
        ("prefix/whoami", {"Authorization": f"Key {KEY}"}),
        ("basic/whoami", basic("alice@practice.example", "practice-password-alice")),
        ("basic/whoami", basic("PRACTICE\\alice@practice.example", "practice-password-alice")),
        ("basic/whoami", basic("alice@practice.example", KEY)),
    ],
)
def test_the_right_credential_is_let_in_by_its_own_guard(app: App, path: str, headers: dict[str, str]) -> None:
    """With whose it is, and what it may do."""
    answer = app.http.get(f"/keys/{path}", headers=headers)
    assert (answer.status_code, answer.json()) == (200, ALICE)
    assert answer.headers["x-oauth-scopes"] == "profile, messages.read, messages.write, offline_access"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("header", {}),
        ("header", {"X-Api-Key": "pk_practice_nobody"}),
        ("header", {"Authorization": f"Bearer {KEY}"}),
        ("query", {"X-Api-Key": KEY}),
        ("bearer", {"Authorization": f"Key {KEY}"}),
        ("prefix", {"Authorization": f"Bearer {KEY}"}),
        ("prefix", {"Authorization": KEY}),
        ("basic", basic("alice@practice.example", "practice-password-bob")),
        ("basic", basic("bob@practice.example", KEY)),
        ("basic", {"Authorization": "Basic !"}),
        ("signed", {}),
        ("aws", {}),
        ("aws", {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}),
    ],
)
def test_no_other_is(app: App, path: str, headers: dict[str, str]) -> None:
    """401, in the words of the others."""
    answer = app.http.get(f"/keys/{path}/whoami", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


def test_a_signed_request_is_let_in_once(app: App) -> None:
    """With its body and query; the same nonce comes too late."""
    body = b'{"text": "Ahoy"}'
    headers = own_signature("POST", "/keys/signed/messages?x=1", body)
    assert app.http.post("/keys/signed/messages?x=1", content=body, headers=headers).json() == {"received": 16}
    again = app.http.post("/keys/signed/messages?x=1", content=body, headers=headers)
    assert (again.status_code, again.json()["error_description"]) == (401, "the nonce came before")


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "practice-signing-secret-bob"},
        {"method": "POST"},
        {"target": "/keys/signed/whoami?x=1"},
        {"body": b"x"},
        {"late": 3600},
        {"late": -3600},
        {"nonce": "short"},
    ],
)
def test_a_signature_of_something_else_is_refused(app: App, change: Request) -> None:
    """Another key, request, body or time."""
    assert app.http.get("/keys/signed/whoami", headers=own_signature(**change)).status_code == 401


@pytest.mark.parametrize("service", ["practice", "s3"])
@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/keys/aws/whoami", b""),
        ("GET", "/keys/aws/messages?b=2&a=%20x&a=1&flag", b""),
        ("POST", "/keys/aws/messages", b"a body"),
    ],
)
def test_what_awss_own_library_signs_is_let_in(app: App, method: str, target: str, body: bytes, service: str) -> None:
    """Both ways of writing the path."""
    headers = aws_signature(app.http, method, target, body, service=service)
    assert app.http.request(method, target, content=body or None, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"key": ("AKIAPRACTICEALICE001", "practice/secret+access+key/of/bob+++0001", None)},
        {"key": ("AKIAPRACTICEALICE001", "practice/secret+access+key/of/alice+0001", "a-session-token")},
        {"key": ("AKIAPRACTICENOBODY01", "practice/secret+access+key/of/alice+0001", None)},
        {"method": "POST"},
        {"target": "/keys/aws/whoami?x=1"},
        {"body": b"x"},
        {"service": "elsewhere"},
        {"late": 3600},
        {"late": -3600},
    ],
)
def test_an_aws_signature_of_something_else_is_refused(app: App, change: Request) -> None:
    """Another key, request, body, service or time; a session token that isn't the key's."""
    assert app.http.get("/keys/aws/whoami", headers=aws_signature(app.http, **change)).status_code == 401


def test_what_has_to_be_signed_is(app: App) -> None:
    """One of AWS's own headers that was put on afterwards could be anybody's; the body's digest can't be left out."""
    headers = aws_signature(app.http, service="s3")
    assert app.http.get("/keys/aws/whoami", headers=headers).status_code == 200
    assert app.http.get("/keys/aws/whoami", headers={**headers, "x-amz-target": "x"}).status_code == 401
    del headers["x-amz-content-sha256"]
    assert app.http.get("/keys/aws/whoami", headers=headers).status_code == 401


def _with_key(made: Request) -> dict[str, str]:
    return {"X-Api-Key": made["api_key"]}


@pytest.mark.parametrize(
    ("kind", "guard", "headers", "name"),
    [
        ("api_key", "header", _with_key, "api_key"),
        ("basic", "basic", lambda made: basic(made["username"], made["password"]), "password"),
    ],
)
def test_more_are_made_and_revoked(
    app: App, kind: str, guard: str, headers: Callable[[Request], dict[str, str]], name: str
) -> None:
    """For whoever needs another; the first ones go on working."""
    made = app.http.post("/control/keys", json={"kind": kind, "account": "bob@practice.example"}).json()
    path = f"/keys/{guard}/whoami"
    assert app.http.get(path, headers=headers(made)).json()["sub"] == "usr_1002"
    app.control(revoked_keys=[made[name]])
    assert app.http.get(path, headers=headers(made)).status_code == 401
    assert app.http.get("/keys/header/whoami", headers={"X-Api-Key": KEY}).status_code == 200


def test_a_temporary_aws_key_needs_its_session_token(app: App) -> None:
    """As AWS's own: without it the key opens nothing."""
    made = app.http.post("/control/keys", json={"kind": "aws_sigv4"}).json()
    key = (made["access_key_id"], made["secret_access_key"])
    whole = aws_signature(app.http, key=(*key, made["session_token"]))
    assert app.http.get("/keys/aws/whoami", headers=whole).json() == ALICE
    assert app.http.get("/keys/aws/whoami", headers=aws_signature(app.http, key=(*key, None))).status_code == 401


@pytest.mark.parametrize("body", [{"kind": "password"}, {}, {"kind": "api_key", "account": "eve@practice.example"}])
def test_only_known_kinds_and_accounts_get_one(app: App, body: dict[str, str]) -> None:
    """400, naming what is wrong."""
    assert app.http.post("/control/keys", json=body).status_code == 400


def test_what_keys_may_do_can_be_less(app: App) -> None:
    """The header says so, and it is kept to."""
    app.control(key_scopes=["profile"])
    headers = {"X-Api-Key": KEY}
    assert app.http.get("/keys/header/whoami", headers=headers).headers["x-oauth-scopes"] == "profile"
    assert app.http.get("/keys/header/messages", headers=headers).status_code == 403
    app.control(key_scopes=["messages.read"])
    assert app.http.get("/keys/header/messages", headers=headers).json()["messages"][0]["id"] == 1
    assert app.http.post("/keys/header/messages", headers=headers).status_code == 403


def test_the_public_part_asks_for_nothing(app: App) -> None:
    """Nobody's messages; and there are no other guards."""
    assert app.http.get("/keys/none/messages").json() == {"messages": []}
    assert app.http.get("/keys/other/whoami").status_code == 404


def test_faults_come_before_everything_else(app: App) -> None:
    """As with the API behind tokens; the counters count it all."""
    app.control(api_fault="status_500")
    assert app.http.get("/keys/header/whoami").status_code == 500
    assert app.http.get("/keys/header/messages").status_code == 500
    assert (app.counters()["whoami"], app.counters()["api"]) == (1, 1)

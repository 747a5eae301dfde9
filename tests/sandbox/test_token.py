"""The token endpoint over HTTP: grants, client authentication, rotation, refusals."""

import base64
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from broker.sandbox import provider, token
from tests.sandbox.app import ALL_SCOPES, CREDENTIALS, VERIFIER, App
from tests.waiting import until

MACHINE = {"grant_type": "client_credentials"}


def refused(response: httpx2.Response) -> str:
    """The error code of a 400 that is an RFC 6749 §5.2 answer."""
    assert response.status_code == 400
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert "access_token" not in body
    return str(body["error"])


def test_a_code_becomes_tokens(app: App) -> None:
    """The answer has every field of RFC 6749 §5.1 and must not be cached."""
    response = app.redeem(app.code())
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}
    assert body["access_token"].startswith("pat_")
    assert body["refresh_token"].startswith("prt_")
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, ALL_SCOPES)


def test_a_code_redeemed_at_once_by_many_gives_tokens_once(app: App) -> None:
    """Of twenty simultaneous redemptions one succeeds."""
    code = app.code()
    with ThreadPoolExecutor(20) as pool:
        statuses = [response.status_code for response in pool.map(app.redeem, [code] * 20)]
    assert sorted(statuses) == [200] + [400] * 19
    assert app.counters()["token"]["authorization_code"] == {"ok": 1, "error": 19}


def test_a_code_used_again_revokes_what_it_gave(app: App) -> None:
    """The second redemption is refused, counted as reuse, and ends the first one's tokens."""
    code = app.code()
    tokens = app.redeem(code).json()
    assert refused(app.redeem(code)) == "invalid_grant"
    assert app.whoami(tokens["access_token"]).status_code == 401
    assert refused(app.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert app.counters()["reuse_detected"] == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_verifier": VERIFIER[::-1]}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:9/other"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_request"),
    ],
)
def test_a_code_is_bound_to_verifier_and_return_address(app: App, change: dict[str, str | None], error: str) -> None:
    """An injected or misdirected code gives nothing; the right request still gets its tokens."""
    code = app.code()
    assert refused(app.redeem(code, **change)) == error
    assert app.redeem(code).status_code == 200


@pytest.mark.parametrize("mode", ["none", "grace"])
def test_an_old_refresh_token_may_go_on_working(app: App, mode: str) -> None:
    """Without rotation, and within grace, the same refresh token works again."""
    app.control(rotation=mode)  # P10
    tokens = app.connect()
    answers = [app.refresh(tokens["refresh_token"]).json() for _ in range(2)]
    assert [("refresh_token" in body) for body in answers] == [mode == "grace"] * 2
    assert app.counters()["reuse_detected"] == 0


@pytest.mark.parametrize("mode", ["strict", "revoke_on_reuse"])
def test_an_old_refresh_token_is_refused(app: App, mode: str) -> None:
    """Reuse is refused; only ``revoke_on_reuse`` takes the successor along."""
    app.control(rotation=mode)  # P10
    old = app.connect()
    new = app.refresh(old["refresh_token"]).json()
    assert refused(app.refresh(old["refresh_token"])) == "invalid_grant"
    survives = mode == "strict"
    assert app.whoami(new["access_token"]).status_code == (200 if survives else 401)
    assert app.refresh(new["refresh_token"]).status_code == (200 if survives else 400)
    assert app.counters()["reuse_detected"] == 1


def test_a_refresh_may_narrow_the_scope(app: App) -> None:
    """Fewer scopes for this access token, and the grant keeps them all; more are refused."""
    tokens = app.connect(scope="profile messages.read")
    narrow = app.refresh(tokens["refresh_token"], scope="profile").json()
    assert narrow["scope"] == "profile"
    assert app.refresh(tokens["refresh_token"]).json()["scope"] == "profile messages.read"
    assert refused(app.refresh(tokens["refresh_token"], scope="profile messages.write")) == "invalid_scope"


def test_a_client_gets_a_token_for_itself(app: App) -> None:
    """Client credentials: an access token, no refresh token, and whoami is the client."""
    body = app.token({**MACHINE, "scope": "messages.read"}).json()
    assert "refresh_token" not in body
    assert body["scope"] == "messages.read"
    assert app.whoami(body["access_token"]).json() == {"sub": "practice-client", "name": "practice-client"}


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "prt_unknown"}, "invalid_grant"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "client_credentials", "scope": "everything"}, "invalid_scope"),
    ],
)
def test_what_makes_no_sense_is_refused(app: App, form: dict[str, str | None], error: str) -> None:
    """Each fault has the code RFC 6749 §5.2 gives it."""
    assert refused(app.token(form)) == error


def test_a_client_may_authenticate_in_the_body(app: App) -> None:
    """client_secret_post is as good as Basic."""
    form = {**MACHINE, "client_id": CREDENTIALS[0], "client_secret": CREDENTIALS[1]}
    assert app.http.post("/token", data=form).status_code == 200


def test_two_authentication_methods_at_once_are_refused(app: App) -> None:
    """Basic and a secret in the body: invalid_request (RFC 6749 §2.3)."""
    assert refused(app.token({**MACHINE, "client_secret": CREDENTIALS[1]})) == "invalid_request"


def test_a_client_id_beside_basic_must_be_the_same(app: App) -> None:
    """Naming oneself in the body too is fine, naming another is not."""
    assert app.token({**MACHINE, "client_id": CREDENTIALS[0]}).status_code == 200
    assert refused(app.token({**MACHINE, "client_id": "other"})) == "invalid_request"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic " + base64.b64encode(b"practice-client:wrong").decode(),
        "Basic " + base64.b64encode(b"nobody:practice-secret").decode(),
        "Basic " + base64.b64encode(b"practice-client:").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"practice-client").decode(),
        "Basic !!!",
        "Bearer pat_something",
    ],
)
def test_a_client_that_proves_nothing_is_refused(app: App, authorization: str | None) -> None:
    """401 invalid_client with a Basic challenge, whatever is wrong."""
    headers = {"Authorization": authorization} if authorization else {}
    response = app.http.post("/token", data=MACHINE, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_client"
    assert response.headers["www-authenticate"].startswith("Basic ")


def test_an_unknown_client_and_a_wrong_secret_look_the_same(app: App) -> None:
    """The answer doesn't tell which clients exist."""
    unknown = app.token(MACHINE, auth=("nobody", "x"))
    wrong = app.token(MACHINE, auth=(CREDENTIALS[0], "x"))
    assert (unknown.status_code, unknown.content) == (wrong.status_code, wrong.content)


@pytest.mark.parametrize("repeated", ["scope=profile&scope=profile", "unread=1&unread=2"])
def test_a_repeated_parameter_is_refused(app: App, repeated: str) -> None:
    """Also when both values are the same or nobody reads them; nothing is issued (RFC 6749 §3.2)."""
    body = f"grant_type=client_credentials&{repeated}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert refused(app.http.post("/token", content=body, headers=headers, auth=CREDENTIALS)) == "invalid_request"
    assert app.counters()["token"]["client_credentials"]["ok"] == 0


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"grant_type": "client_credentials"}', 400),
        ("application/x-www-form-urlencoded", b"grant_type=%ff", 400),
        ("application/x-www-form-urlencoded", b"\xff\xfe", 400),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(101)), 400),
        ("application/x-www-form-urlencoded", b"a" * 70_000, 413),
    ],
)
def test_a_body_that_is_no_form_is_refused(app: App, content_type: str, body: bytes, status: int) -> None:
    """JSON, broken encodings, too many fields or too large a body: invalid_request."""
    response = app.http.post("/token", content=body, headers={"Content-Type": content_type}, auth=CREDENTIALS)
    assert response.status_code == status
    assert response.json()["error"] == "invalid_request"


def test_a_refusal_repeats_no_secret(app: App) -> None:
    """What was sent doesn't come back in the error's text."""
    canary = "canary-7f3a"
    answers = [
        app.refresh(f"prt_{canary}"),
        app.redeem(f"pac_{canary}", code_verifier=canary * 5),
        app.token(MACHINE, auth=(CREDENTIALS[0], canary)),
    ]
    assert all(canary not in response.text for response in answers)


def test_the_work_is_done_before_the_delayed_answer(app: App) -> None:
    """A caller that gives up during the delay has rotated its refresh token all the same."""
    app.control(rotation="strict")
    tokens = app.connect()
    app.control(token_delay_ms=4_000, reset_counters=True)
    with pytest.raises(httpx2.ReadTimeout):
        app.http.post(
            "/token",
            data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
            auth=CREDENTIALS,
            timeout=1,
        )
    until(lambda: app.counters()["token"]["refresh_token"] == {"ok": 1, "error": 0})
    app.control(token_delay_ms=0)
    assert refused(app.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_the_published_grant_types_are_the_ones_that_work() -> None:
    """Metadata and counters list exactly the endpoint's table, and the one grant that no client authenticates for."""
    assert {*token._GRANTS, provider.JWT_BEARER} == set(provider.GRANT_TYPES)

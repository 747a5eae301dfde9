"""How a client proves who it is at the OAuth face: one method, once, and nothing in the answer that helps to guess."""

import base64
import json
from io import StringIO
from urllib.parse import quote

import httpx2
import pytest

from broker.app.heart import Heart
from broker.models.ids import new_id, new_secret
from tests.downstream.answers import nameless, oauth_error_of
from tests.downstream.oauth.conftest import Show, refused
from tests.journey import MakeClient
from tests.signers import Signer, proof
from tests.world import ServiceClient

PATHS = ["/oauth/token", "/oauth/introspect", "/oauth/revoke"]
FORM = {"grant_type": "client_credentials", "token": "x"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    """An Authorization header with these, joined as they are."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.mark.parametrize("path", PATHS)
async def test_basic_and_post_both_work(app: ServiceClient, path: str) -> None:
    """``client_secret_basic`` and ``client_secret_post`` (RFC 6749 §2.3.1)."""
    post = {"client_id": app.client_id, "client_secret": app.secret}
    assert (await app.http.post(path, data=FORM, headers=basic(app.client_id, app.secret))).status_code == 200
    assert (await app.http.post(path, data={**FORM, **post})).status_code == 200


async def test_basic_secrets_are_form_encoded(app: ServiceClient) -> None:
    """Every character may come percent-encoded (RFC 6749 §2.3.1), and the scheme in any case."""
    encoded = ["".join(f"%{ord(character):02X}" for character in part) for part in (app.client_id, app.secret)]
    assert encoded[0] != quote(app.client_id)
    header = basic(*encoded)["Authorization"].replace("Basic", "bASIC")
    answer = await app.http.post("/oauth/token", data=FORM, headers={"Authorization": header})
    assert answer.status_code == 200


async def test_the_same_client_id_may_stand_in_both_places(app: ServiceClient) -> None:
    """Some libraries always send it; another one is refused."""
    headers = basic(app.client_id, app.secret)
    same = await app.http.post("/oauth/token", data={**FORM, "client_id": app.client_id}, headers=headers)
    assert same.status_code == 200
    other = await app.http.post("/oauth/token", data={**FORM, "client_id": new_id("cl")}, headers=headers)
    assert (other.status_code, oauth_error_of(other)) == (400, "invalid_request")


@pytest.mark.parametrize("path", PATHS)
async def test_two_methods_at_once_are_refused(app: ServiceClient, path: str) -> None:
    """Even if each would do: RFC 6749 §2.3."""  # S9
    post = {"client_id": app.client_id, "client_secret": app.secret}
    assertion = {"client_assertion": "e30.e30.x", "client_assertion_type": "urn:x"}
    header = basic(app.client_id, app.secret)
    for form, headers in (
        ({**FORM, **post}, header),
        ({**FORM, **assertion}, header),
        ({**FORM, **post, **assertion}, {}),
    ):
        answer = await app.http.post(path, data=form, headers=headers)
        assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
        assert "more than one way" in answer.json()["error_description"]


async def test_two_authorization_headers_are_refused(app: ServiceClient) -> None:
    """Nobody can say which one counts."""  # S9
    header = basic(app.client_id, app.secret)["Authorization"]
    headers = [("Authorization", header), ("Authorization", header)]
    answer = await app.http.post("/oauth/token", data=FORM, headers=headers)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_client_and_a_wrong_secret_are_answered_alike(
    app: ServiceClient, make_client: MakeClient, path: str
) -> None:
    """Byte for byte, by both methods; also another client's secret, and a client_id that can't be one."""  # S8
    other = await make_client("other")
    guesses = [
        (app.client_id, new_secret("bcs")),
        (app.client_id, other.secret),
        (app.client_id, app.secret[:-1]),
        (app.client_id, app.secret.upper()),
        (new_id("cl"), app.secret),
        (new_id("cl"), new_secret("bcs")),
        ("nobody", "x"),
        ("*", "x"),
    ]
    by_header = [await app.http.post(path, data=FORM, headers=basic(*guess)) for guess in guesses]
    by_body = [
        await app.http.post(path, data={**FORM, "client_id": client_id, "client_secret": secret})
        for client_id, secret in guesses
    ]
    for answers in (by_header, by_body):
        assert {answer.status_code for answer in answers} == {401}
        assert all(nameless(answer) == nameless(answers[0]) for answer in answers)
        assert oauth_error_of(answers[0]) == "invalid_client"
    # RFC 6749 §5.2: who tried the header is told the scheme.
    assert by_header[0].headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic bm9jb2xvbg==",
        "Basic /w==",
        "Basic Og==",
        "Bearer bat_x",
        "Digest x=y",
        "",
    ],
)
async def test_a_header_that_proves_nothing_is_401(http: httpx2.AsyncClient, header: str) -> None:
    """Broken base64, no colon, not UTF-8, empty, another scheme."""
    answer = await http.post("/oauth/token", data=FORM, headers={"Authorization": header})
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")


@pytest.mark.parametrize("path", PATHS)
async def test_a_header_beyond_ascii_is_401(http: httpx2.AsyncClient, path: str) -> None:
    """Whatever bytes a header holds, they are no reason for an error of ours."""  # S9
    answer = await http.post(path, data=FORM, headers=[(b"Authorization", b"Basic \xe9\xff")])
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "form", [{}, {"client_id": "cl_x"}, {"client_secret": "x"}, {"client_id": "", "client_secret": ""}]
)
async def test_half_a_proof_is_none(app: ServiceClient, form: dict[str, str]) -> None:
    """A client_id alone is no authentication."""
    answer = await app.http.post("/oauth/token", data={**FORM, **form})
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")


async def test_a_bearer_token_does_not_authenticate_a_client(app: ServiceClient) -> None:
    """A broker token can't be traded for a fresh one."""
    headers = {"Authorization": f"Bearer {await app.broker_token()}"}
    answer = await app.http.post("/oauth/token", data=FORM, headers=headers)
    assert answer.status_code == 401


async def test_a_deleted_clients_secret_is_worth_nothing_at_once(app: ServiceClient, heart: Heart) -> None:
    """Where it was deleted, although it was in use a moment ago."""  # S13
    assert (await app.token(**FORM)).status_code == 200
    await heart.clients.delete(app.client_id)
    assert (await app.token(**FORM)).status_code == 401


async def test_a_flood_of_failures_is_429_and_the_right_secret_still_works(app: ServiceClient) -> None:
    """More than a hundred a minute from one address: refused with the time to wait. RFC 9110 §10.2.3."""  # S8
    wrong = ServiceClient(app.http, app.client_id, "wrong")
    answers = [await wrong.token(**FORM) for _ in range(130)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:100] == [401] * 100
    assert statuses[-1] == 429
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert oauth_error_of(answers[-1]) == "temporarily_unavailable"
    assert answers[-1].json()["code"] == "rate_limited"
    right = await app.token(grant_type="client_credentials")
    assert right.status_code == 200
    listed = await app.call("GET", "/v1/connections")
    assert listed.status_code == 200
    guessed = await app.http.get("/v1/connections", headers={"Authorization": "Bearer bat_" + "x" * 43})
    assert guessed.status_code == 429
    assert int(guessed.headers["retry-after"]) >= 1


@pytest.mark.parametrize("missing", ["client_assertion", "client_assertion_type"])
async def test_an_assertion_and_its_type_come_together(
    show: Show, signer: Signer, client_id: str, missing: str
) -> None:
    """One without the other is a request that is wrong in itself."""  # S9
    parameters = proof(signer.assertion(client_id), client_id)
    del parameters[missing]
    answer = await show(parameters)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert missing in answer.json()["error_description"]


@pytest.mark.parametrize(
    "kind", ["urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer", "urn:ietf:params:oauth:x"]
)
async def test_another_type_of_assertion_is_not_supported(
    show: Show, signer: Signer, client_id: str, kind: str
) -> None:
    """RFC 6749 §5.2: an unsupported authentication method is invalid_client."""
    await refused(show, {**proof(signer.assertion(client_id)), "client_assertion_type": kind})


async def test_a_client_with_keys_has_no_secret(show: Show, client_id: str) -> None:
    """Nor does the empty one, or anything that stands in the place of none, open anything."""  # S14
    secrets = ["", "None", "null", "nobody's secret", "[]", "x"]
    for secret in secrets:
        for options in ({"auth": (client_id, secret)}, {}):
            parameters = {} if options else {"client_id": client_id, "client_secret": secret}
            answer = await show(parameters, **options)
            assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")


async def test_a_client_with_a_secret_has_no_keys(app: ServiceClient, signer: Signer, show: Show) -> None:
    """A signature by whichever key proves nothing."""
    await refused(show, proof(signer.assertion(app.client_id)))


async def test_the_operator_learns_whose_secret_was_wrong(app: ServiceClient, logged: StringIO) -> None:
    """The log knows a client that is there; what stands in the place of one is not repeated."""  # K1
    planted = "planted-in-place-of-an-id"
    for client_id in (app.client_id, planted):
        answer = await app.http.post("/oauth/token", auth=(client_id, "planted-secret"))
        assert answer.json()["error_description"] == "client authentication failed"
    lines = [line for line in map(json.loads, logged.getvalue().splitlines()) if line.get("status") == 401]
    assert [line["refusal"] for line in lines] == [f"not its secret ({app.client_id})", "no such client"]
    assert "planted" not in logged.getvalue()

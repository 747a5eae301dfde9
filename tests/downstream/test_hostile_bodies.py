"""Bodies made to hurt: huge, deep, many-membered, ambiguous, or not what they say."""

import json
from typing import Any

import httpx2
import pytest
import redis

from tests.downstream.answers import code_of, oauth_error_of
from tests.journey import snapshot
from tests.world import ServiceClient

JSON = {"Content-Type": "application/json"}
OPEN = {"provider": "practice", "subject": "ann"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe{}",
        b'{"provider": "practice", "subject": "ann"} x',
        b'{"provider": "practice", "subject": "\\ud800"}',
        b'{"provider": "practice", "subject": "ann", "subject": "mallory"}',
        b'{"provider": "practice", "subject": "ann", "metadata": {"a": 1, "a": 2}}',
        b'{"provider":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"provider":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        b'{"provider": "practice", "subject": "ann", "metadata": {"n": ' + b"9" * 20_000 + b"}}",
        b'{"provider": "practice", "subject": "ann", "metadata": {"n": NaN}}',
        b'{"provider": "practice", "subject": "ann", "metadata": {"n": -Infinity}}',
        b'{"provider": "practice", "subject": "ann", "metadata": {"n": 1e400}}',
        b'{"provider": "practice", "subject": "ann", "metadata": {"\\ud800": 1}}',
        b'{"provider": "practice", "subject": "ann", "metadata": {"a": ["\\udfff"]}}',
        b'{"provider": "practice", "subject": "ann", "metadata": {"a": ' + b"[" * 150 + b"]" * 150 + b"}}",
        b'{"provider": "practice", "subject": "ann", "metadata": {"a": ' + b"[" * 9_999 + b"]" * 9_999 + b"}}",
        b'{"provider": "practice", "subject": "ann", "metadata": [1]}',
        json.dumps({**OPEN, "metadata": {f"k{i}": 1 for i in range(51)}}).encode(),
        json.dumps({**OPEN, "scopes": ["s"] * 101}).encode(),
        json.dumps({**OPEN, **{f"f{i}": 1 for i in range(1001)}}).encode(),
        json.dumps({**OPEN, "subject": "x" * 256}).encode(),
        json.dumps({**OPEN, "subject": ""}).encode(),
        json.dumps({**OPEN, "subject": 7}).encode(),
        json.dumps({**OPEN, "surprise": True}).encode(),
        json.dumps({**OPEN, "allow_account_change": "yes"}).encode(),
    ],
)
async def test_a_hostile_json_body_is_refused(app: ServiceClient, raw_store: redis.Redis, body: bytes) -> None:
    """Too deep, too many, too long, of the wrong type, or more than asked for: 400, and nothing is stored."""  # S11
    await app.broker_token()
    before = snapshot(raw_store)
    answer = await app.call("POST", "/v1/connect-sessions", content=body, headers=JSON)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert answer.json()["errors"]
    assert snapshot(raw_store) == before


async def test_the_fields_at_fault_are_named_and_values_are_not(app: ServiceClient) -> None:
    """What was sent does not come back: it may have been a secret in the wrong place."""  # K1
    body = {"provider": 7, "subject": "ann", "return_url": "x" * 3000, "planted_field": "planted-value"}
    answer = await app.call("POST", "/v1/connect-sessions", body)
    told = {fault["field"]: fault["message"] for fault in answer.json()["errors"]}
    assert told.keys() == {"provider", "return_url", "planted_field"}
    assert told["planted_field"] == "unknown field"
    assert "planted-value" not in answer.text
    assert "xxxx" not in answer.text


@pytest.mark.parametrize("query", ["limit=1&limit=2", "subject=a&subject=a", "limit=0", "limit=201", "limit=x",
                                   "status=odd", "cursor=%%%", "cursor=bm90", "surprise=1", "surprise="])  # fmt: skip
async def test_a_bad_query_is_refused(app: ServiceClient, query: str) -> None:
    """Repeated, out of range, unknown, or a cursor that is none of ours."""  # S9
    answer = await app.call("GET", f"/v1/connections?{query}")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert answer.json()["errors"] or "more than once" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"&".join(b"f%d=1" % i for i in range(1001)),
        b"grant_type=client_credentials&grant_type=client_credentials",
        b"grant_type=client_credentials&scope=admin&scope=connect",
        b"grant_type=client_credentials&x=%ff",
        b"grant_type=client_credentials&\xc3=1",
    ],
)
async def test_a_hostile_form_is_refused(app: ServiceClient, body: bytes) -> None:
    """1001 fields, a repeated parameter, something that is not UTF-8; the right secret does not help."""  # S9, S11
    answer = await app.http.post(
        "/oauth/token",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        auth=(app.client_id, app.secret),
    )
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW"])
async def test_odd_verbs_are_405(http: httpx2.AsyncClient, app: ServiceClient, method: str) -> None:
    """Each in the words of its face; none switches anything."""  # S12
    for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke"):
        answer = await http.request(method, path)
        assert answer.status_code == 405
        assert answer.json()["error"] == "invalid_request"
    for path in ("/v1/connections", "/v1/events", "/v1/connections/con_x/token"):
        answer = await app.call(method, path)
        assert answer.status_code == 405
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["allow"]


async def test_tokens_in_the_query_authenticate_nobody(app: ServiceClient, connection: dict[str, Any]) -> None:
    """RFC 6750 §2.3 is not supported: addresses are logged on the way."""
    token = await app.broker_token()
    answer = await app.http.get(f"/v1/connections/{connection['id']}?access_token={token}")
    assert answer.status_code == 401
    secret = {"grant_type": "client_credentials", "client_id": app.client_id, "client_secret": app.secret}
    answer = await app.http.post("/oauth/token", params=secret)
    assert answer.status_code == 401

"""What a proxy in front of the practice provider's API has to cope with."""

import gzip
import hashlib
from typing import Any

import httpx2
import pytest

from broker.sandbox.streams import BLOCK
from tests.sandbox.app import App


@pytest.fixture
def api(app: App) -> App:
    """An app that shows its access token with every request."""
    app.http.headers["Authorization"] = f"Bearer {app.connect()['access_token']}"
    return app


@pytest.fixture(autouse=True)
def without_a_token(http: httpx2.Client) -> None:
    """No test leaves its token behind."""
    http.headers.pop("Authorization", None)


def state(app: App) -> Any:
    return app.http.get("/control/streams").raise_for_status().json()


def publish(app: App, data: str | None) -> None:
    app.http.post("/control/events", json={"channel": "x", "data": data}).raise_for_status()


@pytest.mark.parametrize("path", ["echo", "bytes?size=1", "events", "status?code=204", "redirect", "hostile", "packed"])
def test_the_resources_take_an_access_token(app: App, path: str) -> None:
    """Without one, 401: what a credential is put on can be seen."""
    assert app.http.get(f"/api/streams/{path}").status_code == 401


def test_the_echo_shows_the_request_as_it_came(api: App) -> None:
    """Method, target, headers in order, body; nothing decoded."""
    sent = api.http.request("QUERY", "/api/streams/echo/a%2Fb?q=%20", content=b"hello", headers={"X-One": "1"})
    seen = sent.json()
    assert (seen["method"], seen["target"]) == ("QUERY", "/api/streams/echo/a%2Fb?q=%20")
    assert (seen["length"], seen["body"]) == (5, "hello")
    assert ["x-one", "1"] in seen["headers"]


def test_the_echo_is_there_for_keys_as_well(app: App) -> None:
    """Behind each guard."""
    made = app.http.post("/control/keys", json={"kind": "api_key"}).json()
    assert app.http.get("/keys/header/echo").status_code == 401
    answer = app.http.get("/keys/header/echo", headers={"X-Api-Key": made["api_key"]})
    assert ["x-api-key", made["api_key"]] in answer.json()["headers"]


@pytest.mark.parametrize(("query", "told"), [("", "100000"), ("&length=no", None)])
def test_many_bytes_come_with_or_without_their_number(api: App, query: str, told: str | None) -> None:
    """Always the same ones."""
    answer = api.http.get(f"/api/streams/bytes?size=100000{query}")
    assert answer.headers.get("content-length") == told
    assert answer.content == (BLOCK * 2)[:100_000]


def test_an_answer_that_is_cut_ends_early(api: App) -> None:
    """The connection is closed under it."""
    with pytest.raises(httpx2.RemoteProtocolError):
        api.http.get("/api/streams/bytes?size=100000&cut=70000")


def test_an_upload_is_counted_and_hashed(api: App) -> None:
    """And read only once it is allowed to."""
    body = BLOCK * 20
    publish(api, "go")
    answer = api.http.post("/api/streams/upload?channel=x", content=body)
    assert answer.json() == {"received": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert state(api)["received"] >= len(body)


def test_events_come_as_they_are_published(api: App) -> None:
    """The stream begins before there is any, and is told as open while it lasts."""
    with api.http.stream("GET", "/api/streams/events?channel=x") as answer:
        parts = answer.iter_raw()
        assert next(parts) == b": open\n\n"
        publish(api, "one")
        assert next(parts) == b"data: one\n\n"
        assert state(api)["open"] == 1
        publish(api, None)
        assert list(parts) == []
    assert state(api)["open"] == 0


def test_statuses_redirects_and_packed_answers_are_what_was_asked_for(api: App) -> None:
    """Each as it stands on the wire."""
    busy = api.http.post("/api/streams/status?code=429&retry_after=7", content=b"not read")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
    moved = api.http.get("/api/streams/redirect?code=307&to=https://elsewhere.example/")
    assert (moved.status_code, moved.headers["location"]) == (307, "https://elsewhere.example/")
    with api.http.stream("GET", "/api/streams/packed") as packed:
        assert gzip.decompress(b"".join(packed.iter_raw())).startswith(b"unpacked unpacked")


def test_hostile_headers_come_as_they_are(api: App) -> None:
    """Two cookies among them."""
    answer = api.http.get("/api/streams/hostile")
    assert len(answer.headers.get_list("set-cookie")) == 2
    assert answer.headers["clear-site-data"] == '"*"'


@pytest.mark.parametrize("query", ["", "size=", "size=-1", "size=a", "size=99999999999999999999"])
def test_a_size_that_is_none_is_refused(api: App, query: str) -> None:
    """400 that names it."""
    answer = api.http.get(f"/api/streams/bytes?{query}")
    assert answer.status_code == 400
    assert answer.json()["error_description"].startswith("size:")

"""Static files, as the broker serves them."""

import httpx2
import pytest

from broker.observe import metrics


@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=abc", "bytes=99999999-", "bytes=0-1,3-4"])
async def test_a_file_is_served_whole(http: httpx2.AsyncClient, asked: str) -> None:
    """Whatever part of it is asked for: one answer, with the headers of all the others, and counted as what it is."""
    whole = await http.get("/static/style.css")
    answer = await http.get("/static/style.css", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, whole.content)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-request-id"].startswith("req_")


async def test_what_a_browser_has_is_not_sent_again(http: httpx2.AsyncClient) -> None:
    """RFC 9110 §13.1.2."""
    etag = (await http.get("/static/style.css")).headers["etag"]
    answer = await http.get("/static/style.css", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["../composition.py", "..%2f..%2fcomposition.py", "%2e%2e/x", "/etc/passwd", "a%00b", ""]
)
async def test_nothing_else_is_served(http: httpx2.AsyncClient, path: str) -> None:
    """No way leads out of the folder, and addresses that lead nowhere are one route to the counters."""
    assert (await http.get(f"/static/{path}")).status_code == 404
    assert "passwd" not in metrics.exposition().decode()

"""Comparing answers: two refusals are the same if nothing but the request's id tells them apart."""

from typing import Any

import httpx2

_OF_THE_REQUEST = {"x-request-id", "content-length", "date"}


def nameless(answer: httpx2.Response) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer without the request's id, which must be in both places."""
    request_id = answer.headers["x-request-id"]
    assert f'"request_id":"{request_id}"' in answer.text.replace(": ", ":")
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_THE_REQUEST}
    return answer.status_code, headers, answer.text.replace(request_id, "")


def code_of(answer: httpx2.Response) -> str:
    """The code of a problem document, whose form is checked on the way (RFC 9457 §3.1)."""
    problem: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert problem["status"] == answer.status_code
    assert problem["type"] == "about:blank"
    assert {"title", "detail", "request_id"} <= problem.keys()
    assert all(fault.keys() == {"field", "message"} for fault in problem["errors"])
    return str(problem["code"])


def oauth_error_of(answer: httpx2.Response) -> str:
    """The error of an RFC 6749 §5.2 answer, whose form is checked on the way."""
    body: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert {"error", "error_description", "request_id"} <= body.keys()
    assert body.keys() <= {"error", "error_description", "request_id", "code"}
    return str(body["error"])

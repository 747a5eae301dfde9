"""The last resort for errors that no face has turned into an answer: unknown paths, odd verbs, our own bugs."""

from collections.abc import Callable
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from broker.http.problems import problem_document
from broker.web import pages

_SERVICES = ("/v1/", "/oauth/", "/proxy/", "/.well-known/")

log = structlog.get_logger(__name__)


def exception_handlers() -> dict[Any, Callable[[Request, Any], Response]]:
    """Handlers for Starlette."""
    return {HTTPException: _http_error, Exception: _bug}


def _http_error(request: Request, error: HTTPException) -> Response:
    code, detail = {
        404: ("not_found", "there is nothing at this address"),
        405: ("method_not_allowed", "this address does not take that method"),
    }.get(error.status_code, ("invalid_request", "the request can't be answered"))
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods_of(request)):
        # Starlette names the methods of one route; a path may have a route for each method (RFC 9110 §15.5.6).
        headers["Allow"] = ", ".join(methods)
    return _answer(request, error.status_code, code, detail, headers)


def _methods_of(request: Request) -> list[str]:
    """Every method that some route takes at the request's path, sorted. What is mounted there answers for itself."""
    # On its way into a mounted app the scope was changed; routes are asked about the path as it came.
    asked = {**request.scope, "root_path": ""}
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    return sorted({m for route in routes if route.matches(asked)[0] is not Match.NONE for m in route.methods or ()})


def _bug(request: Request, error: Exception) -> Response:
    # The traceback goes into the log, redacted; nothing of it into the answer.
    log.error("request.failed", request_id=request.state.request_id, exc_info=error)
    # Starlette answers bugs outside of all middleware, so the id that others get there is put on here.
    headers = {"X-Request-Id": str(request.state.request_id)}
    return _answer(request, 500, "internal_error", "the broker made a mistake; its log knows more", headers)


def _answer(request: Request, status: int, code: str, detail: str, headers: dict[str, str]) -> Response:
    request_id = str(request.state.request_id)
    path = request.scope["path"]
    if path.startswith("/oauth/"):
        error = "invalid_request" if status < 500 else "server_error"
        return JSONResponse({"error": error, "error_description": detail, "request_id": request_id}, status, headers)
    if path.startswith(_SERVICES):
        return problem_document(status, code, detail, request_id, headers=headers)
    page = pages.error_page(
        status=status,
        title="There is nothing here" if status < 500 else "Something went wrong",
        message=f"{detail[0].upper()}{detail[1:]}.",
        hint="Go back to the app you came from.",
        request_id=request_id,
    )
    page.headers.update(headers)
    return page

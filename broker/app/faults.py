"""The last resort for what no face has turned into an answer: unknown paths, odd verbs, our own bugs."""

from collections.abc import Collection

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.http.problems import problem_document
from broker.web import pages

_SERVICES = ("/v1/", "/oauth/", "/proxy/", "/.well-known/")
_WORDS = {
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
}

log = structlog.get_logger(__name__)


class Faults:
    """Answers in the words of the face that the path belongs to."""

    def unserved(self, request: Request, status: int, methods: Collection[str]) -> Response:
        """Nothing is there, or not for this method."""
        code, detail = _WORDS.get(status, ("invalid_request", "the request can't be answered"))
        # A path may have a route for each method; all of them are named (RFC 9110 §15.5.6).
        headers = {"Allow": ", ".join(sorted(methods))} if status == 405 else {}
        return _answer(request, status, code, detail, headers)

    def failed(self, request: Request, error: Exception) -> Response:
        """A bug. The traceback goes into the log, redacted; nothing of it into the answer."""
        log.error("request.failed", request_id=request.state.request_id, exc_info=error)
        return _answer(request, 500, "internal_error", "the broker made a mistake; its log knows more", {})


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

"""Static files whose address changes with their content, so they may be cached for ever."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles


def static_route(path: str, directory: str) -> Route:
    """The files of ``directory`` below ``path``, with a year's caching (RFC 8246)."""
    found = StaticFiles(directory=directory)

    async def show(request: Request) -> Response:
        # Whole or not at all (RFC 9110 §14.2 allows it): a part of a file would be another answer than the one that the
        # entrance has seen, and these are small.
        request.scope["headers"] = [field for field in request.scope["headers"] if field[0] != b"range"]
        asked = found.get_path({**request.scope, "root_path": path})
        response = await found.get_response(asked, request.scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return Route(f"{path}/{{path:path}}", show, methods=["GET"], name="static", include_in_schema=False)

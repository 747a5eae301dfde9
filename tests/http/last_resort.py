"""What answers where no endpoint does, in tests of the entrance alone."""

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response


class Plain:
    """Answers the status alone."""

    def unserved(self, request: Request, status: int, methods: Collection[str]) -> Response:
        """Nothing is there."""
        return PlainTextResponse(" ".join(sorted(methods)), status)

    def failed(self, request: Request, error: Exception) -> Response:
        """An endpoint failed."""
        return PlainTextResponse("failed", 500)


class Raising(Plain):
    """Lets bugs through, so that no test of a route can pass with one."""

    def failed(self, request: Request, error: Exception) -> Response:
        """An endpoint failed."""
        raise error

"""OAuth errors, and the one way they are answered."""

import re

from starlette.responses import JSONResponse

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_NOT_IN_A_DESCRIPTION = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")


class OAuthError(Exception):
    """A refusal in the words of RFC 6749 §5.2 (or RFC 6750 §3.1 for the API).

    ``description`` never holds a token, code, verifier or secret. ``challenge`` is the ``WWW-Authenticate``
    value that a 401 or 403 carries.
    """

    def __init__(self, error: str, description: str, *, status: int = 400, challenge: str | None = None) -> None:
        description = _NOT_IN_A_DESCRIPTION.sub("?", description)
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status
        self.challenge = challenge


class ReuseError(OAuthError):
    """A code or refresh token that was already used came again and no longer works."""

    def __init__(self, description: str) -> None:
        super().__init__("invalid_grant", description)


def error_answer(error: OAuthError) -> JSONResponse:
    """The JSON answer of RFC 6749 §5.2."""
    headers = dict(NO_STORE)
    if error.challenge:
        headers["WWW-Authenticate"] = error.challenge
    body = {"error": error.error, "error_description": error.description}
    return JSONResponse(body, status_code=error.status, headers=headers)

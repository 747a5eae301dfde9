"""Problem documents (RFC 9457): how the services' JSON faces say no, whoever says it."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import JSONResponse, Response

from broker.errors import FieldFault
from broker.http.described import Absent, Described

_FAULTS_AT_MOST: Final = 50
_NO_STORE: Final = {"Cache-Control": "no-store"}


class Fault(Described):
    """A field of the request that is wrong."""

    field: str
    """Its name, with dots before what is inside it; ``body`` for the whole."""
    message: str


class Problem(Described):
    """Why the answer is no (RFC 9457)."""

    type: str
    """Always ``about:blank``: ``code`` says what kind of problem it is."""
    title: str
    """The code in words."""
    status: int
    """The HTTP status."""
    code: str
    """What went wrong, for programs."""
    detail: str
    """What went wrong, for people. Never holds a secret or a value of the request."""
    request_id: str
    """The id under which the broker's log knows the request."""
    errors: list[Fault]
    """The fields at fault."""
    missing: list[str] | Absent = None
    """With ``missing_provider_scopes``: the scopes that the connection lacks. With ``invalid_credentials`` at the step
    ``permissions``: those that the credential lacks."""
    step: str | Absent = None
    """With ``invalid_credentials``: how far they came, ``format``, ``live_test`` or ``permissions``."""
    provider_status: int | Absent = None
    """With ``invalid_credentials``: the HTTP status of the provider's answer."""


def problem_document(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    faults: Sequence[FieldFault] = (),
    more: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer, which nobody caches.

    :param code: the broker's own name of what went wrong; its words are the title.
    :param faults: the fields at fault; ``errors`` is there, and empty, where there are none. Only 50 of them are told:
        a body of ten thousand wrong members is not answered by ten thousand sentences.
    :param more: members that only this code has (RFC 9457 §3.2).
    """
    body = {
        "type": "about:blank",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
        "errors": [{"field": fault.field, "message": fault.message} for fault in faults[:_FAULTS_AT_MOST]],
        **(more or {}),
    }
    return JSONResponse(body, status, {**_NO_STORE, **(headers or {})}, media_type="application/problem+json")

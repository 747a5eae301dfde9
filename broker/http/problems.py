"""Problem documents (RFC 9457): how the services' JSON faces say no, whoever says it."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import JSONResponse, Response

from broker.errors import FieldFault

_NO_STORE: Final = {"Cache-Control": "no-store"}


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
    :param faults: the fields at fault; ``errors`` is there, and empty, where there are none.
    :param more: members that only this code has (RFC 9457 §3.2).
    """
    body = {
        "type": "about:blank",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
        "errors": [{"field": fault.field, "message": fault.message} for fault in faults],
        **(more or {}),
    }
    return JSONResponse(body, status, {**_NO_STORE, **(headers or {})}, media_type="application/problem+json")

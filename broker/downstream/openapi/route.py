"""``GET /openapi.json``."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response

from broker.downstream.openapi.document import document_of
from broker.downstream.operation import PUBLIC, DeclaredRoute, JsonObject, Operation

PATH = "/openapi.json"

_SHOW = Operation(
    face=PUBLIC,
    name="openapi",
    method="GET",
    path=PATH,
    tag="Operations",
    summary="This document.",
    answer=JsonObject,
)


def openapi_route(operations: Sequence[Operation], *, public_url: str, issuer: str) -> DeclaredRoute:
    """The document of ``operations``, and of itself. It is made when it is first asked for: few workers ever are."""

    @cache
    def document() -> bytes:
        made = document_of([*operations, _SHOW], version=version("broker"), public_url=public_url, issuer=issuer)
        return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()

    async def show(_request: Request) -> Response:
        headers = {"Cache-Control": "public, max-age=300"}
        return Response(document(), media_type=_SHOW.face.gives, headers=headers)

    return DeclaredRoute(_SHOW, show)

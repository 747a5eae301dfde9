"""``GET /.well-known/oauth-authorization-server`` (RFC 8414): what this server is and can do."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.downstream.oauth import introspection, revocation, token
from broker.downstream.operation import DeclaredRoute, Face, Operation
from broker.models.access import CLIENT_SCOPES

PATH: Final = "/.well-known/oauth-authorization-server"
_FACE: Final = Face(
    takes="", gives="application/json", refuses_with="application/problem+json", refusal=None, always=()
)
_METHODS: Final = ["client_secret_basic", "client_secret_post"]


def metadata_routes(issuer: str, grant_types: Iterable[str]) -> list[DeclaredRoute]:
    """The metadata of the server at ``issuer``.

    RFC 8414 §3.1 puts the well-known part before the issuer's path, so an issuer with a path has two addresses: that
    one, and the plain one, which a proxy that strips the path makes of ``issuer`` + the well-known part.
    """
    document = {
        "issuer": issuer,
        "token_endpoint": issuer + token.PATH,
        "token_endpoint_auth_methods_supported": _METHODS,
        "introspection_endpoint": issuer + introspection.PATH,
        "introspection_endpoint_auth_methods_supported": _METHODS,
        "revocation_endpoint": issuer + revocation.PATH,
        "revocation_endpoint_auth_methods_supported": _METHODS,
        "grant_types_supported": list(grant_types),
        # Required by RFC 8414 §2, and empty: there is no authorization endpoint for browsers here.
        "response_types_supported": [],
        "scopes_supported": list(CLIENT_SCOPES),
    }

    async def metadata(_request: Request) -> Response:
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=300"})

    paths = dict.fromkeys((PATH, PATH + urlsplit(issuer).path))
    return [DeclaredRoute(_operation(number, path), metadata) for number, path in enumerate(paths)]


def _operation(number: int, path: str) -> Operation:
    return Operation(
        face=_FACE,
        name="server_metadata_of_issuer" if number else "server_metadata",
        method="GET",
        path=path,
        tag="OAuth",
        summary="What this authorization server is and can do (RFC 8414).",
    )

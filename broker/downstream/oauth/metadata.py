"""``GET /.well-known/oauth-authorization-server`` (RFC 8414): what this server is and can do."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.access.key_rules import ALGORITHMS
from broker.downstream.oauth import device_authorization, introspection, revocation, token
from broker.downstream.oauth.endpoint import CLIENT_AUTH_METHODS, NO_AUTHENTICATION
from broker.downstream.operation import PUBLIC, DeclaredRoute, JsonObject, Operation
from broker.models.access import CLIENT_SCOPES

PATH: Final = "/.well-known/oauth-authorization-server"
_AUTHENTICATED: Final = {"token": (NO_AUTHENTICATION,), "introspection": (), "revocation": (NO_AUTHENTICATION,)}
"""The endpoints at which a client authenticates, at all of them in the same ways; and how it needn't."""


def metadata_routes(issuer: str, grant_types: Iterable[str]) -> list[DeclaredRoute]:
    """The metadata of the server at ``issuer``.

    RFC 8414 §3.1 puts the well-known part before the issuer's path, so an issuer with a path has two addresses: that
    one, and the plain one, which a proxy that strips the path makes of ``issuer`` + the well-known part.
    """
    document: dict[str, Any] = {
        "issuer": issuer,
        "token_endpoint": issuer + token.PATH,
        "device_authorization_endpoint": issuer + device_authorization.PATH,
        "introspection_endpoint": issuer + introspection.PATH,
        "revocation_endpoint": issuer + revocation.PATH,
        "grant_types_supported": list(grant_types),
        # Required by RFC 8414 §2, and empty: there is no authorization endpoint for browsers here.
        "response_types_supported": [],
        "scopes_supported": list(CLIENT_SCOPES),
    }
    for endpoint, besides in _AUTHENTICATED.items():
        document[f"{endpoint}_endpoint_auth_methods_supported"] = [*CLIENT_AUTH_METHODS, *besides]
        # Required where private_key_jwt is listed (§2).
        document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = list(ALGORITHMS)

    async def metadata(_request: Request) -> Response:
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=300"})

    paths = dict.fromkeys((PATH, PATH + urlsplit(issuer).path))
    return [DeclaredRoute(_operation(number, path), metadata) for number, path in enumerate(paths)]


def _operation(number: int, path: str) -> Operation:
    return Operation(
        face=PUBLIC,
        name="server_metadata_of_issuer" if number else "server_metadata",
        method="GET",
        path=path,
        tag="OAuth",
        summary="What this authorization server is and can do (RFC 8414).",
        answer=JsonObject,
    )

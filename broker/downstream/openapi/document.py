"""Operations in, an OpenAPI 3.1 document out."""

from collections.abc import Sequence
from typing import Any

from broker.downstream.openapi.models import Components, Schema
from broker.downstream.openapi.requests import body, parameters, without_converters
from broker.downstream.openapi.responses import HEADERS, SHARED, responses
from broker.downstream.openapi.words import ABOUT, SCOPES, SECURITY, TAGS
from broker.downstream.operation import Operation
from broker.models.access import CLIENT_SCOPES


def document_of(operations: Sequence[Operation], *, version: str, public_url: str, issuer: str) -> dict[str, Any]:
    """The document.

    :param version: the broker's.
    :param public_url: where the broker is reached.
    :param issuer: what the token endpoint's address begins with.
    """
    components = Components(operations)
    paths: dict[str, Schema] = {}
    for operation in operations:
        paths.setdefault(without_converters(operation.path), {})[operation.method.lower()] = _shown(
            operation, components
        )
    # Shown as parameters; nothing refers to them.
    components.drop({operation.query for operation in operations if operation.query is not None})
    used = {operation.tag for operation in operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "OAuth broker", "version": version, "description": ABOUT},
        "servers": [{"url": public_url}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "responses": dict(sorted((SHARED | components.responses).items())),
            "headers": HEADERS,
            "securitySchemes": {
                "broker_token": {
                    "type": "oauth2",
                    "description": SECURITY,
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": f"{issuer}/oauth/token",
                            "scopes": {scope: SCOPES[scope] for scope in CLIENT_SCOPES},
                        }
                    },
                },
                "client_secret_basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The client's id and secret, form-encoded (RFC 6749 §2.3.1).",
                },
            },
        },
    }


def _shown(operation: Operation, components: Components) -> Schema:
    shown: Schema = {"operationId": operation.name, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        shown["description"] = operation.description
    if asked := parameters(operation, components):
        shown["parameters"] = asked
    if (asked_with := body(operation, components)) is not None:
        shown["requestBody"] = asked_with
    shown["responses"] = responses(operation, components)
    # ``{}``: the client may say who it is in the body instead, for which the format has no word.
    shown["security"] = [{scheme: _scopes(operation)} if scheme else {} for scheme in operation.face.schemes]
    return shown


def _scopes(operation: Operation) -> list[str]:
    return [operation.scope] if operation.scope else []

"""What an operation answers: its success, and every refusal that its face and its declaration know."""

import inspect
from typing import Final

from broker.downstream.openapi.models import Components, Schema
from broker.downstream.operation import Operation
from broker.errors import BrokerError, Conflict, Forbidden, InsufficientScope

_REQUEST_ID: Final = {"$ref": "#/components/headers/X-Request-Id"}
_RETRY_AFTER: Final = {"$ref": "#/components/headers/Retry-After"}
_CHALLENGE: Final = {"$ref": "#/components/headers/WWW-Authenticate"}

HEADERS: Final[dict[str, Schema]] = {
    "X-Request-Id": {
        "description": "The id under which the broker's log knows the request.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which trying again makes sense.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate (RFC 9110 §11.6.1), and what is wrong with the token (RFC 6750 §3).",
        "schema": {"type": "string"},
    },
    "Location": {"description": "Where the browser goes next.", "required": True, "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true`: this is the answer to an earlier request with the same `Idempotency-Key`.",
        "schema": {"const": "true"},
    },
}


_PROVIDERS_OWN: Final = "The provider's own answer; it carries `Broker-Connection`."
_BEFORE_IT_IS_READ: Final = {
    400: "The request can't be read, or can be read in two ways.",
    414: "The address of the request is too long.",
    431: "The head of the request is too large, or has too many fields.",
    501: "The body comes in a transfer coding that is not understood.",
    503: "There are as many connections as are taken.",
}

SHARED: Final[dict[str, Schema]] = {
    f"head.{status}": {
        "description": description,
        "headers": {"Retry-After": _RETRY_AFTER} if status == 503 else {},
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    for status, description in _BEFORE_IT_IS_READ.items()
}
"""What every operation may answer before the request gets to it."""


def responses(operation: Operation, components: Components) -> dict[str, Schema]:
    """Status → answer."""
    told = {str(operation.status): _success(operation, components)}
    if operation.redirects:
        headers = {"X-Request-Id": _REQUEST_ID, "Location": {"$ref": "#/components/headers/Location"}}
        told["303"] = {"description": "The browser is sent on.", "headers": headers}
    if operation.relays:
        told["default"] = {
            "description": _PROVIDERS_OWN,
            "headers": {"X-Request-Id": _REQUEST_ID},
        }
    by_status: dict[int, list[type[BrokerError]]] = {}
    for error in _refusals(operation):
        by_status.setdefault(error.status, []).append(error)
    for status, errors in by_status.items():
        told[str(status)] = _refused(operation, status, errors, components)
    heads = {str(status): {"$ref": f"#/components/responses/head.{status}"} for status in _BEFORE_IT_IS_READ}
    # Where it says no with the same status itself, that is what is shown.
    return dict(sorted((heads | told).items()))


def _success(operation: Operation, components: Components) -> Schema:
    models, references = operation.answers, [components.told(model) for model in operation.answers]
    headers = {"X-Request-Id": _REQUEST_ID}
    if operation.relays:
        return {"description": _PROVIDERS_OWN, "headers": headers, "content": {operation.face.gives: {}}}
    if operation.creates:
        headers["Idempotent-Replayed"] = {"$ref": "#/components/headers/Idempotent-Replayed"}
    if not references:
        return {"description": "Done. There is no body.", "headers": headers}
    description = " ".join(f"{_first_sentence(model)}" for model in models)
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"description": description, "headers": headers, "content": {operation.face.gives: {"schema": schema}}}


def _refusals(operation: Operation) -> list[type[BrokerError]]:
    refusals = [*operation.face.always, *operation.refuses]
    if operation.scope is not None:
        refusals.append(InsufficientScope)
    if operation.face.name == "json" and not operation.takes_bound:
        refusals.append(Forbidden)
    if operation.creates:
        refusals.append(Conflict)
    return list(dict.fromkeys(refusals))


def _refused(operation: Operation, status: int, errors: list[type[BrokerError]], components: Components) -> Schema:
    """A reference to the answer, which many operations share."""
    made = _refusal(operation, status, errors, components)
    codes = sorted({error.code for error in errors})
    creates = ["create"] if operation.creates and status == 409 else []
    name = ".".join([operation.face.name, str(status), *codes, *creates])
    components.responses[name] = made
    return {"$ref": f"#/components/responses/{name}"}


def _refusal(operation: Operation, status: int, errors: list[type[BrokerError]], components: Components) -> Schema:
    face = operation.face
    if status in face.words:
        description = face.words[status]
    else:
        description = "\n".join(f"`{error.code}`: {_first_sentence(error)}" for error in errors)
    headers = {"X-Request-Id": _REQUEST_ID}
    if status in {429, 503} or (status == 409 and operation.creates):
        headers["Retry-After"] = _RETRY_AFTER
    if (status == 401 or InsufficientScope in errors) and face.schemes:
        headers["WWW-Authenticate"] = _CHALLENGE
    schema: Schema = {"type": "string"}
    if face.refusal is not None:
        schema = components.told(face.refusal)
        if not face.words:
            narrowed: Schema = {"properties": {"code": {"enum": sorted({error.code for error in errors})}}}
            schema = {"allOf": [schema, narrowed]}
    content: Schema = {face.refuses_with: {"schema": schema}}
    if operation.relays:
        # Somebody else may have said it.
        content["*/*"] = {}
    return {"description": description, "headers": headers, "content": content}


def _first_sentence(documented: type) -> str:
    text = " ".join((inspect.getdoc(documented) or "").split())
    return text.partition("; ")[0].partition(". ")[0].removesuffix(".") + "."

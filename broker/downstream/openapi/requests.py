"""What an operation is asked with: parameters of path, query and header, and a body."""

import re
from collections.abc import Iterator
from typing import Any

from broker.downstream.openapi.models import Components, Schema, never_null
from broker.downstream.openapi.words import PATH_PARAMETERS
from broker.downstream.operation import Operation

_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name of the caller's own for this request: repeated within 24 hours with the same body, it is "
    "answered as the first time and makes nothing new. Printable ASCII, bare or as a quoted string.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}


def parameters(operation: Operation, components: Components) -> list[Schema]:
    """The parameters of path, query and header."""
    return [
        *_of_path(operation.path),
        *_of_query(operation, components),
        *([_IDEMPOTENCY_KEY] if operation.creates else []),
    ]


def without_converters(path: str) -> str:
    """``path`` without what only routing reads: ``{path:path}`` → ``{path}``."""
    return re.sub(r"{(\w+):\w+}", r"{\1}", path)


def body(operation: Operation, components: Components) -> dict[str, Any] | None:
    """The request body; ``None`` where nothing is read from it."""
    references = [components.asked(model) for model in operation.bodies]
    if not references:
        return None
    definitions = [components.definition(reference) for reference in references]
    schema = references[0] if len(references) == 1 else _one_of(references, definitions)
    return {
        # An empty body is an empty object.
        "required": any(definition.get("required") for definition in definitions),
        "content": {media_type: {"schema": schema} for media_type in operation.media_types},
    }


def _one_of(references: list[Schema], definitions: list[Schema]) -> Schema:
    """Several bodies of which one applies, told apart by the member that each needs to have a value of its own."""
    constants = [{name for name in each["required"] if "const" in each["properties"][name]} for each in definitions]
    (name,) = set.intersection(*constants)
    mapping = {
        definition["properties"][name]["const"]: reference["$ref"]
        for definition, reference in zip(definitions, references, strict=True)
    }
    return {"oneOf": references, "discriminator": {"propertyName": name, "mapping": mapping}}


def _of_path(path: str) -> Iterator[Schema]:
    for name in re.findall(r"{(\w+)}", without_converters(path)):
        description, schema = PATH_PARAMETERS[name]
        yield {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _of_query(operation: Operation, components: Components) -> Iterator[Schema]:
    if operation.query is None:
        return
    definition = components.definition(components.asked(operation.query))
    required = definition.get("required", ())
    for name, described in definition["properties"].items():
        schema = never_null(described)
        description = schema.pop("description", None)
        parameter = {"name": name, "in": "query", "required": name in required, "schema": schema}
        yield {**parameter, "description": description} if description else parameter

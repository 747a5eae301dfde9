"""pydantic's models as JSON Schema (draft 2020-12), said the way they are on the wire."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from broker.downstream.operation import Operation

Schema = dict[str, Any]

_PLACE = "#/components/schemas/{model}"


class _Plain(GenerateJsonSchema):
    """Without titles that only repeat a field's name, and without ``null`` as the default of what may be absent."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made


class Components:
    """The schemas of every model that ``operations`` name, each once."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
        for operation in operations:
            asked = [*operation.bodies, *([operation.query] if operation.query else [])]
            told = [*operation.answers, *([operation.face.refusal] if operation.face.refusal else [])]
            wanted.update(dict.fromkeys((model, "validation") for model in asked))
            wanted.update(dict.fromkeys((model, "serialization") for model in told))
        self._places, definitions = models_json_schema(list(wanted), ref_template=_PLACE, schema_generator=_Plain)
        self.schemas: dict[str, Schema] = definitions["$defs"]
        self.responses: dict[str, Schema] = {}

    def asked(self, model: type[BaseModel]) -> Schema:
        """A reference to what a request says."""
        return self._places[model, "validation"]

    def told(self, model: type[BaseModel]) -> Schema:
        """A reference to what an answer says."""
        return self._places[model, "serialization"]

    def definition(self, reference: Schema) -> Schema:
        """The schema that ``reference`` names."""
        return self.schemas[reference["$ref"].rpartition("/")[2]]

    def drop(self, models: Iterable[type[BaseModel]]) -> None:
        """Leave out models of requests that are shown in another way."""
        for model in models:
            del self.schemas[self.asked(model)["$ref"].rpartition("/")[2]]


def never_null(schema: Schema) -> Schema:
    """``schema`` without its ``null``: where what is not said is left out, as in a query."""
    alternatives = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if not alternatives:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**alternatives[0], **rest} if len(alternatives) == 1 else {"anyOf": alternatives, **rest}

"""The JSON Schema of ``providers.yaml`` for editors; printed by ``broker config schema``.

It is the models' own schema, widened to what the loader accepts before it validates: variables instead of
values, ``extends``, ``null`` for taking an inherited key away, and text that needs no quotes although an editor
reads it as a number or a truth value.
"""

from typing import Any

from broker.providers.schema import NAME, ProvidersFile

_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "${VAR} or ${VAR:-default}"}
_EXTENDS = {
    "type": "string",
    "description": "Another entry's name. What this one doesn't say is taken from there; mappings merge.",
}


def json_schema() -> dict[str, Any]:
    """The schema of the whole file, in JSON Schema's draft 2020-12."""
    schema = ProvidersFile.model_json_schema()
    schema["properties"]["providers"]["propertyNames"] = {"pattern": f"^{NAME.pattern}$"}
    for definition in schema["$defs"].values():
        # With extends, what is required here may come from the other entry. Only the loader sees both.
        definition.pop("required", None)
        definition["properties"] = {key: _widened(value) for key, value in definition["properties"].items()}
    provider = schema["$defs"]["Provider"]
    provider["properties"] = {"extends": _EXTENDS, **provider["properties"]}
    provider["if"] = {"not": {"required": ["extends"]}}
    provider["then"] = {"required": ["display_name"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _widened(field: dict[str, Any]) -> dict[str, Any]:
    """``field`` that may also be ``null`` or, where it isn't free text anyway, name a variable."""
    inner = dict(field)
    outer: dict[str, Any] = {key: inner.pop(key) for key in ("title", "description", "default") if key in inner}
    if "additionalProperties" in inner and isinstance(inner["additionalProperties"], dict):
        inner["additionalProperties"] = _widened(inner["additionalProperties"])
    if "items" in inner:
        inner["items"] = _widened(inner["items"])
    variable = [] if inner == {"type": "string"} else [_VARIABLE]
    return {**outer, "anyOf": [_unquoted(inner), *variable, {"type": "null"}]}


def _unquoted(field: dict[str, Any]) -> dict[str, Any]:
    """``field`` that, where it is free text, may be spelled like a number or a truth value."""
    if "anyOf" in field:
        return {**field, "anyOf": [_unquoted(arm) for arm in field["anyOf"]]}
    is_text = field.get("type") == "string" and "enum" not in field and "const" not in field
    return {**field, "type": ["string", "number", "boolean"]} if is_text else field

"""The JSON Schema that editors use says what the loader does."""

import json
from typing import Any

from broker.providers import Provider, json_schema


def _entry() -> dict[str, Any]:
    definition: dict[str, Any] = json_schema()["$defs"]["Provider"]
    return definition


def test_it_is_draft_2020_12_and_plain_json() -> None:
    """Editors choose their rules by ``$schema``."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema
    assert schema["required"] == ["providers"]
    assert schema["properties"]["providers"]["propertyNames"] == {"pattern": "^[a-z][a-z0-9_-]{0,63}$"}


def test_it_knows_every_key_of_an_entry_and_extends_and_no_other() -> None:
    """What the loader sets by itself can't be written; unknown keys are marked."""
    fields = set(Provider.model_fields) - {"name", "missing_variables"}
    assert set(_entry()["properties"]) == fields | {"extends"}
    assert all(definition["additionalProperties"] is False for definition in json_schema()["$defs"].values())


def test_only_an_entry_that_extends_nothing_must_be_complete() -> None:
    """With ``extends``, what is required may come from the other entry."""
    entry = _entry()
    assert "required" not in entry
    assert (entry["if"], entry["then"]) == ({"not": {"required": ["extends"]}}, {"required": ["display_name"]})


def test_variables_and_null_are_allowed_everywhere() -> None:
    """``${VAR}`` may stand for numbers and choices; ``null`` takes an inherited key away."""
    for field in ("timeout", "release", "scopes", "refresh"):
        arms = _entry()["properties"][field]["anyOf"]
        assert {"type": "null"} in arms
        assert any(arm.get("pattern") == r"\$\{" for arm in arms)
    values = _entry()["properties"]["env"]["anyOf"][0]["additionalProperties"]
    assert values == {"anyOf": [{"type": ["string", "number", "boolean"]}, {"type": "null"}]}


def test_text_needs_no_quotes() -> None:
    """An editor reads ``client_id: 12345`` as a number, the loader as text; a choice stays a choice."""
    text = ["string", "number", "boolean"]
    for field in ("display_name", "client_id", "client_secret"):
        arms = _entry()["properties"][field]["anyOf"][0]
        assert text in [arm.get("type") for arm in arms.get("anyOf", [arms])]
    mode = json_schema()["$defs"]["Device"]["properties"]["mode"]["anyOf"][0]
    assert (mode["type"], "off" in mode["enum"]) == ("string", True)


def test_descriptions_come_from_the_docstrings() -> None:
    """Hovering over a key explains it."""
    assert _entry()["properties"]["timeout"]["description"].startswith("Total deadline of one call")
    assert json_schema()["$defs"]["Revocation"]["description"].startswith("How a token is given back")


def test_which_token_is_revoked_is_left_to_the_style() -> None:
    """Two names or ``null``, and no default that would be wrong for half of the styles."""
    token = json_schema()["$defs"]["Revocation"]["properties"]["token"]
    assert token["default"] is None
    assert token["anyOf"][0] == {
        "anyOf": [{"enum": ["refresh_token", "access_token"], "type": "string"}, {"type": "null"}]
    }

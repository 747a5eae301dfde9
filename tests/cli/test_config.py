"""``broker config``."""

from tests.cli.conftest import Cli


def test_the_schema_is_one_json_document(cli: Cli) -> None:
    """``config schema`` prints the JSON Schema of providers.yaml and needs no store."""
    schema = cli("config", "schema").json
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert cli("config", "schema", "--json").json == schema
    assert "token_endpoint" in schema["$defs"]["Provider"]["properties"]

"""``docs/providers.md``: its table is the shipped file, and its examples load."""

import re
from pathlib import Path

import pytest

from broker.providers import Registry, load_providers

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
SHIPPED = (ROOT / "providers.yaml").read_text(encoding="utf-8")


@pytest.fixture
def shipped() -> Registry:
    return load_providers(ROOT / "providers.yaml", {})


def test_the_table_lists_what_is_shipped(shipped: Registry) -> None:
    """Each entry once, with its type and the variables that it waits for."""
    table = TEXT.partition("<!-- shipped -->")[2].partition("<!-- /shipped -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" |")] for line in table.strip().splitlines()[2:]]
    listed = [(row[0].strip("`"), row[2].strip("`"), tuple(re.findall(r"`([A-Z_]+)`", row[3]))) for row in rows]
    assert sorted(listed) == [(p.name, p.type, p.missing_variables) for p in shipped]


def test_variables_beside_those_of_apps_are_named() -> None:
    """What can be set, and has a default, stands in the table's last column."""
    optional = set(re.findall(r"\$\{([A-Z_]+):-", SHIPPED))
    assert optional
    assert {name for name in optional if f"`{name}`" not in TEXT} == set()


def test_the_examples_load(tmp_path: Path) -> None:
    """They can be copied below the shipped entries as they stand."""
    examples = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert len(examples) == 3
    file = tmp_path / "providers.yaml"
    file.write_text("\n".join([SHIPPED, *examples]), encoding="utf-8")
    providers = load_providers(file, {})
    assert providers.get("microsoft-device").missing_variables == ("MICROSOFT_CLIENT_ID",)
    assert providers.get("acme").missing_variables == ("ACME_CLIENT_ID", "ACME_CLIENT_SECRET")
    ci, github = providers.get("github-ci"), providers.get("github")
    assert (ci.missing_variables, ci.identity) == (("CI_GITHUB_CLIENT_ID", "CI_GITHUB_CLIENT_SECRET"), github.identity)


def test_the_fields_that_make_a_difference_exist() -> None:
    """Every field that the second table names is one of the schema."""
    table = TEXT.partition("| where providers differ | |")[2].partition("\n\n")[0]
    schema = (ROOT / "broker" / "providers").glob("*.py")
    known = "".join(file.read_text(encoding="utf-8") for file in schema)
    named = {part for spelt in re.findall(r"`([a-z_.]+)(?::[^`]*)?`", table) for part in spelt.split(".")}
    assert len(named) > 12
    assert {name for name in named - {"md"} if not re.search(rf"\b{name}\b", known)} == set()

"""``${VAR}``, ``${VAR:-default}``, and what an unset variable does and doesn't do."""

from pathlib import Path

import pytest

from broker.providers import load_providers
from tests.providers.conftest import Faults, Load

ENTRY = """
providers:
  a:
    display_name: A
    issuer: https://a.example
    client_id: id
    client_secret: secret
"""


@pytest.mark.parametrize(
    ("value", "environ", "expected"),
    [
        ("${X}", {"X": "1"}, "1"),
        ("a-${X}-${Y}-b", {"X": "1", "Y": "2"}, "a-1-2-b"),
        ("${X:-d}", {}, "d"),
        ("${X:-d}", {"X": ""}, "d"),
        ("${X:-d}", {"X": "1"}, "1"),
        ("${X:-}", {"X": "1"}, "1"),
        ("a${X:-}${Y:-}", {}, "a"),
        ("$${X}", {"X": "1"}, "${X}"),
        ("$X", {"X": "1"}, "$X"),
        ("${X}", {"X": "${Y}", "Y": "no"}, "${Y}"),
    ],
)
def test_references_are_replaced_once(load: Load, value: str, environ: dict[str, str], expected: str) -> None:
    """Defaults, escapes; and a value that looks like a reference stays as it is."""
    provider = load(f'{ENTRY}    token_params: {{p: "{value}"}}', environ).get("a")
    assert provider.token_params == {"p": expected}
    assert provider.ready


def test_a_variable_may_be_a_file(load: Load, tmp_path: Path) -> None:
    """Where it isn't set itself; what ends the file's last line is no part of it, and it stays one value."""
    (tmp_path / "secret").write_text("one\n  two: ${Y}\n")
    environ = {"X_FILE": str(tmp_path / "secret"), "X": "", "Y": "no"}
    for written in ("${X}", "${X:-d}"):
        provider = load(f"{ENTRY}    token_params: {{p: '{written}'}}", environ).get("a")
        assert provider.token_params == {"p": "one\n  two: ${Y}"}
    assert load(f"{ENTRY}    token_params: {{p: '${{X_FILE}}'}}", environ).get("a").token_params == {
        "p": environ["X_FILE"]
    }


@pytest.mark.parametrize(
    ("content", "environ", "said"),
    [
        (None, {}, "X_FILE: the file does not exist"),
        (b"", {}, "X_FILE: the file is empty"),
        (b" \n", {}, "X_FILE: the file is empty"),
        (b"\xff", {}, "X_FILE: the file can't be read as UTF-8 text"),
        (b"x" * 100_001, {}, "X_FILE: the file is too large"),
        (b"canary", {"X": "canary"}, "X and X_FILE are set; only one of them may be"),
    ],
)
def test_a_file_that_can_not_stand_for_a_variable_is_a_fault(
    faults: Faults, tmp_path: Path, content: bytes | None, environ: dict[str, str], said: str
) -> None:
    """At the line that needs it, without what it holds."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    found = faults(f"{ENTRY}    token_params: {{p: '${{X}}'}}", {**environ, "X_FILE": str(path)})
    assert found == [f"providers.yaml:8: providers.a.token_params.p: {said}"]
    assert load_providers(tmp_path / "providers.yaml", {}).names == ("a",)


def test_a_variable_cannot_inject_yaml(load: Load) -> None:
    """Substitution happens after parsing: a value stays one value."""
    hostile = 'x"\n    token_endpoint: https://evil.example\n    #'
    provider = load(f"{ENTRY}    token_params:\n      p: ${{X}}", {"X": hostile}).get("a")
    assert provider.token_params == {"p": hostile}
    assert provider.token_endpoint is None


def test_numbers_and_choices_can_come_from_variables(load: Load) -> None:
    """Text from the environment is read as what the field wants."""
    environ = {"T": "2.5", "A": "60", "R": "strict"}
    provider = load(f"{ENTRY}    timeout: ${{T}}\n    refresh: {{ahead: '${{A}}', rotation: '${{R}}'}}", environ).get(
        "a"
    )
    assert (provider.timeout, provider.refresh.ahead, provider.refresh.rotation) == (2.5, 60, "strict")


@pytest.mark.parametrize(
    "line",
    [
        "token_endpoint: ${X}",
        "issuer: ${X}",
        "display_name: ${X}",
        "client_id: ${X}",
        "timeout: ${X}",
        "type: ${X}",
        "scopes: {read: '${X}', write: Write}\n    default_scopes: [read]",
        "default_scopes: ['${X}']",
        "identity: {url: '${X}', id: /id}",
        "identity: {url: '${X}', id: '${X}'}",
        "api: {base_url: 'https://${X}.example'}",
        "revocation: {endpoint: '${X}'}",
        "git: {hosts: ['${X}']}",
        "parameters: {sub: {label: '${X}'}}\n    token_endpoint: https://{sub}.example/token",
    ],
)
def test_an_unset_variable_makes_a_provider_not_ready_wherever_it_stands(load: Load, line: str) -> None:
    """It is listed with the variable's name, and its name or section is never a fault."""
    key = line.partition(":")[0]
    kept = [text for text in ENTRY.splitlines() if not text.strip().startswith(f"{key}:")]
    provider = load("\n".join([*kept, f"    {line}"])).get("a")
    assert provider.missing_variables == ("X",)
    assert provider.missing == ("environment variable X",)
    assert not provider.ready
    assert provider.display_name in {"A", "a"}


def test_what_can_be_judged_without_the_variable_is_judged(faults: Faults) -> None:
    """An unset variable doesn't hide mistakes beside it, not even in its own section."""
    lines = (
        "identity: {url: '${X}', id: id}",
        "api: {base_url: x}",
        "default_scopes: [b]",
        "scopes: {a: A}",
    )
    assert faults(ENTRY + "".join(f"    {line}\n" for line in lines)) == [
        "providers.yaml:8: providers.a.identity.id: a JSON pointer starts with '/' (RFC 6901)",
        "providers.yaml:9: providers.a.api.base_url: must be an https:// URL (plain http only on loopback)",
        "providers.yaml:10: providers.a.default_scopes: item 1 is not among scopes",
    ]


def test_every_missing_variable_is_named_once(load: Load) -> None:
    """In the order of the file."""
    provider = load(f"{ENTRY}    token_params: {{p: '${{Z}}${{Y}}', q: '${{Z}}'}}\n    env: {{E: '${{X:-set}}'}}").get(
        "a"
    )
    assert provider.missing_variables == ("Z", "Y")
    assert provider.env == {"E": "set"}


@pytest.mark.parametrize("line", ["client_id: ${X:-}", "timeout: '${X:-}'", "issuer: ${X:-}", "env: {E: '${X:-}${X}'}"])
@pytest.mark.parametrize("environ", [{}, {"X": ""}])
def test_an_empty_default_is_none(load: Load, line: str, environ: dict[str, str]) -> None:
    """Where a value is nothing but references and comes out empty, its variable is missing; that is no fault."""
    key = line.partition(":")[0]
    kept = [text for text in ENTRY.splitlines() if not text.strip().startswith(f"{key}:")]
    provider = load("\n".join([*kept, f"    {line}"]), environ).get("a")
    assert "X" in provider.missing_variables
    assert set(provider.missing) == {"environment variable X"}


def test_every_variable_with_an_empty_default_is_named(load: Load) -> None:
    """Any of them would do, so all are named; one that is set is enough."""
    text = f"{ENTRY}    env: {{E: '${{Y:-}}${{Z:-}}'}}"
    assert load(text).get("a").missing_variables == ("Y", "Z")
    assert load(text, {"Z": "1"}).get("a").env == {"E": "1"}


@pytest.mark.parametrize("value", ["${", "${}", "${1X}", "${X", "${X-d}", "${X Y}"])
def test_a_malformed_reference_is_a_fault(faults: Faults, value: str) -> None:
    """It is a typing error, not text for a provider."""
    assert faults(f'{ENTRY}    token_params: {{p: "{value}"}}', {"X": "1"}) == [
        "providers.yaml:8: providers.a.token_params.p: a ${ is not followed by a variable's name and a closing brace"
    ]

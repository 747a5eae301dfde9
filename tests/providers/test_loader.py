"""A file becomes a registry, or every fault at once with file, line and key."""

import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.providers import Registry, load_providers
from broker.providers.loader import MAX_BYTES
from tests.providers.conftest import Faults, Load

GOOD = """\
providers:
  example:
    display_name: Example
    authorization_endpoint: https://example.com/authorize
    token_endpoint: https://example.com/token
    client_id: ${EXAMPLE_ID}
    client_secret: ${EXAMPLE_SECRET}
"""
CANARY = "CANARY-7f3a9b"


def test_a_good_file_is_a_registry(load: Load) -> None:
    """Variables are filled in and the provider is ready."""
    provider = load(GOOD, {"EXAMPLE_ID": "abc", "EXAMPLE_SECRET": "shh"}).get("example")
    assert (provider.name, provider.client_id, provider.ready) == ("example", "abc", True)
    assert provider.client_secret is not None
    assert provider.client_secret.get_secret_value() == "shh"
    assert "shh" not in repr(provider)


def test_every_fault_is_reported_at_once(faults: Faults) -> None:
    """Mistakes of every stage, each with its line and the path of its key."""
    assert faults(
        """\
        providers:
          github:
            display_name: GitHub
            token_endpiont: https://x.example
            issuer: http://x.example
            timeout: []
            refresh: {rotaton: none}
            display_name: Twice
          Upper: {}
          other:
            extends: nobody
          half:
            issuer: https://x.example
            client_id: ${1X}
          list: []
        provider: {}
        """
    ) == [
        "providers.yaml:4: providers.github.token_endpiont: unknown key (did you mean token_endpoint?)",
        "providers.yaml:5: providers.github.issuer: must be an https:// URL (plain http only on loopback)",
        "providers.yaml:6: providers.github.timeout: input should be a valid number",
        "providers.yaml:7: providers.github.refresh.rotaton: unknown key (did you mean rotation?)",
        "providers.yaml:8: providers.github.display_name: duplicate key, already on line 3",
        "providers.yaml:9: providers.Upper: a name is a lower-case letter and up to 63 of a-z 0-9 _ -",
        "providers.yaml:11: providers.other.extends: no such entry",
        "providers.yaml:12: providers.half.display_name: required, but missing",
        "providers.yaml:14: providers.half.client_id: a ${ is not followed by a variable's name and a closing brace",
        "providers.yaml:15: providers.list: must be a mapping",
        "providers.yaml:16: provider: unknown key (did you mean providers?)",
    ]


def test_a_wrong_kind_of_value_is_told_in_yamls_words(faults: Faults) -> None:
    """Who writes YAML knows lists, mappings and text; tuples and dictionaries are ours."""
    text = """\
        providers:
          a:
            display_name: A
            issuer: https://a.example
            default_scopes: profile
            scopes: [profile]
            refresh: strict
            client_id: [5]
        """
    assert faults(text) == [
        "providers.yaml:5: providers.a.default_scopes: must be a list",
        "providers.yaml:6: providers.a.scopes: must be a mapping",
        "providers.yaml:7: providers.a.refresh: must be a mapping",
        "providers.yaml:8: providers.a.client_id: must be text",
    ]


def test_an_entry_at_the_top_is_told_where_it_belongs(faults: Faults) -> None:
    """The likeliest mistake of a first entry is its indentation."""
    found = faults("providers: {}\nmine:\n  display_name: Mine\nversion: 2\n")
    assert found == [
        "providers.yaml:2: mine: unknown key (if it is an entry: indent it under providers:)",
        "providers.yaml:4: version: unknown key",
    ]
    (missing,) = faults("mine:\n  display_name: Mine\n")
    assert missing.endswith("providers: required, but missing; the entries stand under it, indented")


def test_a_file_that_is_not_found_is_named_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual reason is that the command runs in another folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load_providers(Path("providers.yaml"), {})
    assert caught.value.faults[0].startswith(f"{tmp_path}/providers.yaml: can't be read: No such file")


@pytest.mark.parametrize("text", ["", "# nothing", "[]", "text", "other: 1", "null"])
def test_a_file_without_providers_is_a_fault(faults: Faults, text: str) -> None:
    """An empty or unrelated file is not taken for "no providers"."""
    assert any("providers: required, but missing" in fault for fault in faults(text))


def test_a_file_may_define_no_provider(load: Load) -> None:
    """Saying so explicitly is fine."""
    assert len(load("providers: {}")) == 0


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """Missing, a directory, not text, too large."""
    (tmp_path / "latin").write_bytes(b"providers: {}  # \xe9")
    (tmp_path / "large").write_text("#" * (MAX_BYTES + 1))
    expected = {
        "absent": "No such file",
        "": "can't be read",
        "latin": "is not UTF-8 text",
        "large": "is larger than 1000000 bytes",
    }
    for name, message in expected.items():
        with pytest.raises(ConfigurationError, match=message):
            load_providers(tmp_path / name, {})


def test_no_value_is_ever_shown(load: Load) -> None:
    """A canary in any place, also of a file that isn't YAML, is in no fault and no chained error."""  # K1
    lines = GOOD.splitlines()
    broken = [
        "{}",
        "*{}",
        "&{} x",
        "!{} x",
        "!!int {}",
        "'{}",
        "[{}",
        "{{{}",
        "%{}",
        "@{}",
        "- {}: -",
        "{}: {}: {}",
        "\t{}",
    ]
    texts = [
        "\n".join([*lines[:number], f"{line.partition(':')[0]}: {form.replace('{}', CANARY)}", *lines[number + 1 :]])
        for number, line in enumerate(lines)
        for form in broken
    ]
    shown = []
    for text in [*texts, *(line.replace("https://", f"http://{CANARY}@[") for line in (GOOD,))]:
        try:
            load(text, {"EXAMPLE_ID": CANARY})
        except ConfigurationError:
            shown.append(traceback.format_exc(limit=0))
    assert len(shown) > len(texts) / 2
    assert not [fault for fault in shown if CANARY in fault]


def test_a_substituted_secret_is_never_shown(faults: Faults) -> None:
    """Also where a variable's value doesn't fit the field it was put into."""  # K1
    text = GOOD.replace("https://example.com/token", "${EXAMPLE_SECRET}") + "    timeout: ${EXAMPLE_SECRET}\n"
    found = faults(text, {"EXAMPLE_ID": "x", "EXAMPLE_SECRET": CANARY})
    assert [fault.split(":")[1] for fault in found] == ["5", "8"]
    assert CANARY not in str(found)


TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="pro:vides{}[]&*!|>'\"#%-?$\\ \n\t,<=~0.1_e"),
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=8),
            st.sampled_from(["${A}", "${A:-1}", "$${", "https://x.example", "oauth2", "example", ".nan", "1_0", "0o9"]),
        ),
        lambda children: st.one_of(
            st.lists(children, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["display_name", "issuer", "extends", "refresh", "scopes", "parameters", "timeout", "name", "x"]
                ),
                children,
                max_size=4,
            ),
        ),
        max_leaves=12,
    ).map(lambda value: f"providers: {{example: {value!r}, other: {{extends: example, display_name: x}}}}"),
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=TEXTS)
def test_any_text_gives_a_registry_or_a_configuration_error(tmp_path: Path, text: str) -> None:
    """Whatever is in the file, the start ends in an answer and not in a traceback."""
    path = tmp_path / "providers.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        outcome: object = load_providers(path, {"A": "1"})
    except ConfigurationError as error:
        outcome = error.faults
    assert isinstance(outcome, Registry) or outcome
    assert "\n" not in str(outcome)

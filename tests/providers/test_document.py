"""YAML's traps: aliases that grow or go in circles, tags, keys that aren't text."""

import pytest

from tests.providers.conftest import Faults, Load


def test_aliases_work(load: Load) -> None:
    """What is anchored once can be used again."""
    registry = load(
        """
        providers:
          a: {display_name: A, issuer: https://a.example, token_headers: &headers {X-Version: "1"}}
          b: {display_name: B, issuer: https://b.example, token_headers: *headers}
        """
    )
    assert registry.get("a").token_headers == registry.get("b").token_headers == {"X-Version": "1"}


def test_aliases_cannot_grow_without_bound(faults: Faults) -> None:
    """A thousand bytes that expand to billions of values are refused ("billion laughs")."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert any("once its aliases are expanded" in fault for fault in faults("\n".join(lines)))


def test_an_alias_cannot_contain_itself(faults: Faults) -> None:
    """A structure without end is refused with its place."""
    assert faults("providers: &all\n  example: *all\n") == [
        "providers.yaml:1: providers.example: an alias refers to the value that it is part of"
    ]


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "- " * 5000])
def test_depth_is_bounded(faults: Faults, text: str) -> None:
    """Thousands of brackets are a fault, not a crash."""
    assert faults(text) == ["providers.yaml:1: is nested too deeply"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("timeout: !!python/object:os.system x", "tags such as !!binary are not supported"),
        ("timeout: !!binary aGk=", "tags such as !!binary are not supported"),
        ("scopes: !!omap []", "tags such as !!binary are not supported"),
        ("timeout: !!int 7", "tags such as !!binary are not supported"),
        ("timeout: !!bool x", "tags such as !!binary are not supported"),
        ("? [a, b]\n    : c", "a key must be plain text"),
        ("<<: {issuer: https://x.example}", "merge keys (<<) are not supported; use extends"),
    ],
)
def test_what_yaml_allows_beyond_data_is_refused(faults: Faults, line: str, message: str) -> None:
    """Tags, composed keys and merge keys have no place in the file."""
    text = f"providers:\n  a:\n    display_name: A\n    issuer: https://a.example\n    {line}\n"
    found = faults(text)
    assert len(found) == 1
    assert found[0].startswith("providers.yaml:5: providers.a")
    assert message in found[0]


@pytest.mark.parametrize("line", ["\tissuer: x", "  \tissuer: x", "    issuer:\n\t  - x"])
def test_a_tab_is_named(faults: Faults, line: str) -> None:
    """It can't be seen, and some editors put it in by themselves."""
    (found,) = faults(f"providers:\n  a:\n    display_name: A\n{line}\n")
    assert "a tab stands where only spaces may" in found


def test_keys_and_plain_values_stay_the_text_they_are(load: Load) -> None:
    """YAML 1.1 would make a truth value of ``on``, eight of ``010`` and a date of a version."""
    provider = load(
        """
        providers:
          a:
            display_name: 010
            issuer: https://a.example
            client_id: 12345
            client_secret: 007
            env: {on: 1, 10: yes, ~: =, "null": <<}
            device: {mode: off}
            authorization_params: {max_age: 0, claims: true, at: 12:30, n: 1_000, x: 0x1F, f: 1.10, e: 1e3, i: .inf}
            token_params: {quoted: "true", single: '0', tilde: "~", str: !!str null}
            parameters: {region: {label: 1, default: 007}}
            default_scopes: [1, no]
            token_response: {invalid_grant: [404], keep: {1: /id}}
            api: {base_url: https://a.example, headers: {API-Version: 2022-11-28, X-Level: 2}}
        """
    ).get("a")
    assert (provider.display_name, provider.client_id) == ("010", "12345")
    assert provider.client_secret is not None
    assert provider.client_secret.get_secret_value() == "007"
    assert provider.env == {"on": "1", "10": "yes", "~": "=", "null": "<<"}
    assert provider.device.mode == "off"
    assert provider.authorization_params == {
        "max_age": "0",
        "claims": "true",
        "at": "12:30",
        "n": "1_000",
        "x": "0x1F",
        "f": "1.10",
        "e": "1e3",
        "i": ".inf",
    }
    assert provider.token_params == {"quoted": "true", "single": "0", "tilde": "~", "str": "null"}
    assert provider.parameters["region"].default == "007"
    assert provider.default_scopes == ("1", "no")
    assert (provider.token_response.invalid_grant, provider.token_response.keep) == (("404",), {"1": "/id"})
    assert provider.api is not None
    assert provider.api.headers == {"API-Version": "2022-11-28", "X-Level": "2"}


@pytest.mark.parametrize("null", ["~", "null", "Null", "NULL", ""])
def test_null_is_no_text(load: Load, null: str) -> None:
    """However it is spelled; in quotes it is text."""
    text = "providers:\n  a:\n    display_name: A\n    issuer: https://a.example\n    client_id: "
    assert load(f"{text}{null}\n").get("a").client_id is None
    assert load(f"{text}'{null or 'x'}'\n").get("a").client_id == (null or "x")


@pytest.mark.parametrize(("spelled", "seconds"), [("10", 10), ("'10'", 10), ("2.5", 2.5), ('"2.5"', 2.5), ("010", 10)])
def test_numbers_are_read_where_the_schema_wants_them(load: Load, spelled: str, seconds: float) -> None:
    """In quotes or without."""
    text = f"providers:\n  a:\n    display_name: A\n    issuer: https://a.example\n    timeout: {spelled}\n"
    assert load(text).get("a").timeout == seconds


@pytest.mark.parametrize("spelled", ["yes", "true", "1:30", "0x10", ".inf", ".nan", "nan", "1e999", "2024-01-01"])
def test_what_is_no_number_is_a_fault(faults: Faults, spelled: str) -> None:
    """It names file, line and key, and never the value."""
    text = f"providers:\n  a:\n    display_name: A\n    issuer: https://a.example\n    timeout: {spelled}\n"
    (fault,) = faults(text)
    assert fault.startswith("providers.yaml:5: providers.a.timeout: input should be ")
    assert spelled not in fault.rpartition(": ")[2].split()

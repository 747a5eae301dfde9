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
        ("timeout: !!int x", "is not the number or truth value that it looks like"),
        ("timeout: !!bool x", "is not the number or truth value that it looks like"),
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


def test_keys_and_dates_stay_the_text_they_are(load: Load) -> None:
    """YAML 1.1 would make a truth value of ``on`` and a date of a version."""
    provider = load(
        """
        providers:
          a: {display_name: A, issuer: https://a.example, env: {on: "1", 10: "2"}, api: &api
              {base_url: https://a.example, headers: {API-Version: 2022-11-28}}}
        """
    ).get("a")
    assert provider.env == {"on": "1", "10": "2"}
    assert provider.api is not None
    assert provider.api.headers == {"API-Version": "2022-11-28"}

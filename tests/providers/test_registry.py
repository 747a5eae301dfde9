"""The registry: providers by name, in a fixed order."""

import pytest

from broker.errors import NotFound
from broker.providers import Provider, Registry

REGISTRY = Registry(Provider(name=name, display_name=name, issuer="https://x.example") for name in ("b", "c", "a"))


def test_the_order_is_that_of_the_names() -> None:
    """Lists look the same whatever the order in the file."""
    assert REGISTRY.names == ("a", "b", "c")
    assert [provider.name for provider in REGISTRY] == ["a", "b", "c"]
    assert (len(REGISTRY), "a" in REGISTRY, "x" in REGISTRY) == (3, True, False)


def test_an_unknown_name_is_not_found() -> None:
    """Its text doesn't repeat what a stranger may have put into a URL."""
    assert REGISTRY.get("b").name == "b"
    with pytest.raises(NotFound) as caught:
        REGISTRY.get("<script>")
    assert "script" not in str(caught.value)

"""Entries as text: out of one file and into another, with their comments, and nothing else changed."""

from pathlib import Path

import pytest
import yaml

from broker.errors import ConfigurationError
from broker.providers import load_providers
from broker.providers.copying import entry_of, names_in, with_entry
from broker.providers.loader import load_text, read_text
from broker.providers.written import as_written

SHIPPED = Path(__file__).parents[2] / "providers.yaml"
SOURCE = """\
providers:
  # About one.
  # In two lines.
  one:
    display_name: One  # unverified
    # Inside.
    identity: &me
      url: https://one.test/me  # unverified: so it is said

      id: /id
    # About two's neighbour.
    api: {base_url: "https://one.test", headers: &headers {Accept: text/plain}}

  # About two.
  two:
    display_name: Two
    identity: *me  # the same
    api: {base_url: "https://two.test", headers: *headers}
# At the edge.
"""


def loaded(text: str) -> object:
    """What the file says."""
    return yaml.safe_load(text)["providers"]


def test_an_entry_brings_its_comments() -> None:
    """Those above it and those inside, and none of its neighbour's."""
    text = entry_of(SOURCE, "one").text
    assert text.startswith("# About one.\n# In two lines.\none:\n  display_name: One  # unverified\n")
    assert text.endswith("headers: &headers {Accept: text/plain}}\n")


def test_what_is_anchored_elsewhere_comes_along() -> None:
    """In the alias' place; in lines of its own or in one."""
    copied = with_entry("", entry_of(SOURCE, "two"))
    assert loaded(copied) == {"two": loaded(SOURCE)["two"]}  # type: ignore[index]
    assert "so it is said" in copied
    assert "neighbour" not in copied
    assert " \n" not in copied


def test_what_is_anchored_inside_stays_an_alias() -> None:
    """Nothing is written twice that was written once."""
    source = "providers:\n  one:\n    identity: {headers: &own {A: b}}\n    api: {headers: *own}\n"
    assert entry_of(source, "one").text == "one:\n  identity: {headers: &own {A: b}}\n  api: {headers: *own}\n"


def test_the_rest_of_the_file_stays_as_it_is() -> None:
    """Byte by byte; the entry comes behind it, as far to the right as the others."""
    mine = "# Mine.\n\nproviders:\n\n    mine:   # as I like it\n        display_name: 'Mine'\n"
    both = with_entry(mine, entry_of(SOURCE, "one"))
    assert both.startswith(mine)
    assert "\n    # About one.\n    # In two lines.\n    one:\n      display_name: One" in both
    assert names_in(both) == ("mine", "one")


def test_an_entry_can_be_renamed_and_copied_twice() -> None:
    """Anchors, of which a file can't have two of one name, are renamed; nothing else with that text in it."""
    twice = with_entry(with_entry("", entry_of(SOURCE, "one")), entry_of(SOURCE, "one").named("once-more"))
    three = with_entry(twice, entry_of(SOURCE, "one").named("again"))
    assert list(loaded(three)) == ["one", "once-more", "again"]  # type: ignore[call-overload]
    assert "&me-2" in three
    assert "&me-3" in three
    assert loaded(three)["again"] == loaded(SOURCE)["one"]  # type: ignore[index]


@pytest.mark.parametrize("text", ["", "\n", "# Only a comment.\n", "providers:\n", "# Mine.\nproviders:\n\n"])
def test_a_file_with_no_entry_takes_one(text: str) -> None:
    """Its comments stay."""
    filled = with_entry(text, entry_of(SOURCE, "one"))
    assert filled.startswith(text.rstrip())
    assert names_in(filled) == ("one",)


@pytest.mark.parametrize("nothing", ["{}", "{ }", "~", "null"])
def test_a_file_that_says_it_has_none_takes_one(nothing: str) -> None:
    """As somebody begins a file who wants a broker that starts."""
    text = f"# Mine.\nproviders: {nothing}  # none yet\n"
    filled = with_entry(text, entry_of(SOURCE, "one"))
    assert filled.startswith("# Mine.\nproviders:  # none yet\n  # About one.\n")
    assert names_in(filled) == ("one",)
    assert loaded(with_entry(filled, entry_of(SOURCE, "two"))) == loaded(SOURCE)


@pytest.mark.parametrize(
    "text", ["providers: {one: {display_name: One}}\n", "other: 1\n", "- providers\n", "providers: [\n"]
)
def test_a_file_that_cannot_take_one_is_refused(text: str) -> None:
    """In braces, or no such file at all; the message says which."""
    with pytest.raises(ConfigurationError):
        with_entry(text, entry_of(SOURCE, "one"))


@pytest.mark.parametrize("name", load_providers(SHIPPED, {}).names)
def test_every_shipped_entry_can_be_copied(name: str) -> None:
    """With what it extends it loads, is the same provider, and has the same marks."""
    shipped = read_text(SHIPPED)
    written = as_written(shipped)
    chain = [name]
    while base := written.bases.get(chain[0]):
        chain.insert(0, base)
    text = ""
    for each in chain:
        text = with_entry(text, entry_of(shipped, each))
    path = Path("providers.yaml")
    assert load_text(text, path, {}).get(name) == load_text(shipped, path, {}).get(name)
    assert as_written(text).unverified(name) == written.unverified(name)
    assert as_written(text).stray == ()

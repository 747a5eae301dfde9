"""The file line by line: which values are marked as unverified, for whom, and which marks mark nothing."""

import pytest

from broker.providers.written import as_written

FILE = """\
# unverified things are marked; this is prose
providers:
  base:
    display_name: "Base  # unverified: not a comment"
    token_endpoint: https://base.test/token  # unverified
    refresh: {rotation: strict}  # unverified: agreed on by public code
    revocation: {endpoint: "https://base.test/revoke", effect: grant}  # unverified: both of it
    identity: &me
      url: https://base.test/me
      id: /id  # unverified: may be a number
    default_scopes:
      - read
      - write  # unverified: as a default
  derived:
    extends: base
    token_endpoint: https://derived.test/token
    refresh: {grace: 5}
    identity: null
  sharing:
    display_name: Sharing
    identity: *me
"""


def marks(name: str) -> dict[str, str | None]:
    """Key → note."""
    return {mark.key: mark.note for mark in as_written(FILE).unverified(name)}


def test_a_mark_is_about_the_key_on_its_line() -> None:
    """The outermost that begins there; if that holds just one more, that one says it better."""
    assert marks("base") == {
        "token_endpoint": None,
        "refresh.rotation": "agreed on by public code",
        "revocation": "both of it",
        "identity.id": "may be a number",
        "default_scopes.1": "as a default",
    }


def test_who_takes_a_value_over_takes_its_mark_over() -> None:
    """By ``extends`` or by an alias; what is said anew, or taken away, is not marked any more."""
    assert marks("derived") == {
        "refresh.rotation": "agreed on by public code",
        "revocation": "both of it",
        "default_scopes.1": "as a default",
    }
    assert marks("sharing") == {"identity.id": "may be a number"}


@pytest.mark.parametrize(
    ("comment", "line"),
    [
        ("    # unverified: all of what follows\n    client_id: x\n", 4),
        ("    client_id: x  # unverified for this endpoint\n", 4),
        ("    client_id: x  # unverified:\n", 4),
        ("    client_id: x\n\n# unverified\n", 6),
        ("    client_id: x  # Unverified\n", 4),
        ("    client_id: x  # Unverified: said nowhere\n", 4),
        ("    client_id: x  # UNVERIFIED for this endpoint\n", 4),
        ("    client_id: x  # not verified\n", 4),
        ("    client_id: x  # Not yet verified, said nowhere\n", 4),
        ("    # un-verified: all of what follows\n    client_id: x\n", 4),
    ],
)
def test_a_mark_that_marks_nothing_is_found(comment: str, line: int) -> None:
    """Alone on its line, or not written as marks are: nobody would hear of it."""
    written = as_written(f"providers:\n  one:\n    display_name: One\n{comment}")
    assert written.stray == (line,)
    assert written.unverified("one") == ()


def test_text_that_only_looks_like_a_mark_is_none() -> None:
    """In quotes, over several lines, or with a word before it."""
    text = (
        "providers:\n"
        "  one:\n"
        "    display_name: 'a # unverified'\n"
        "    documentation: |\n"
        "      text # unverified\n"
        "      # unverified\n"
        "    client_id: x  # what is unverified is marked\n"
        "    # Unverified accounts are refused there.\n"
        "    # Not verified by mail, say.\n"
        "    client_secret: x  # unverifiedly\n"
        "    scopes: {a: b}#unverified\n"
    )
    written = as_written(text)
    assert (written.stray, written.unverified("one")) == ((), ())


def test_an_entry_by_itself_is_never_marked() -> None:
    """A mark behind an entry's name says nothing that could be verified."""
    assert as_written("providers:\n  one:  # unverified\n    display_name: One\n").stray == (2,)

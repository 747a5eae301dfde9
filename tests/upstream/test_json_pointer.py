"""JSON pointers, with the examples of RFC 6901 §5 that can stand in a provider's answer."""

import pytest

from broker.upstream.json_pointer import lookup

DOCUMENT: dict[str, object] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "m~n": 8,
    "user": {"id": 7, "name": None},
    "list": [{"id": "first"}],
}


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/m~0n", 8),
        ("/user/id", 7),
        ("/list/0/id", "first"),
    ],
)
def test_a_pointer_finds_its_value(pointer: str, expected: object) -> None:
    """Members, elements and escapes are followed."""
    assert lookup(DOCUMENT, pointer) == expected


@pytest.mark.parametrize(
    "pointer",
    [
        "/nothing",
        "/foo/2",
        "/foo/01",
        "/foo/-",
        "/foo/-1",
        "/foo/²",
        "/foo/" + "9" * 5000,
        "/user/id/x",
        "/user/name/x",
    ],
)
def test_a_pointer_to_nothing_finds_nothing(pointer: str) -> None:
    """A missing member, an index out of range or malformed, a step into a number: nothing, and no error."""
    assert lookup(DOCUMENT, pointer) is None

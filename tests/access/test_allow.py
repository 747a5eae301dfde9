"""Allow lists: which requests an entry covers, which paths nobody gets through with, and what can't be an entry."""

import pytest
import redis

from broker.access.allow import ENTRIES_AT_MOST, ENTRY_LENGTH, allows, is_ambiguous, parse_entry
from broker.access.policy import permit_request
from broker.app.heart import Heart
from broker.errors import Forbidden, InvalidRequest
from broker.models.access import Caller
from broker.vault import names
from tests.access.stored import rewrite


@pytest.mark.parametrize(
    ("entry", "method", "path", "covered"),
    [
        ("GET /user", "GET", "/user", True),
        ("GET /user", "POST", "/user", False),
        ("GET /user", "HEAD", "/user", False),
        ("GET /user", "GET", "/User", False),
        ("GET /user", "GET", "/user/", False),
        ("GET /user", "GET", "/users", False),
        ("GET /user", "GET", "/user/x", False),
        ("GET /user", "GET", "/us%65r", False),
        ("GET /user", "GET", "/", False),
        ("GET /user", "GET", "", False),
        ("GET /", "GET", "/", True),
        ("GET /", "GET", "/x", False),
        ("GET /users/", "GET", "/users/", True),
        ("GET /users/", "GET", "/users", False),
        ("* /user", "QUERY", "/user", True),
        ("GET /repos/*", "GET", "/repos/a", True),
        ("GET /repos/*", "GET", "/repos/*", True),
        ("GET /repos/*", "GET", "/repos/%C3%A4", True),
        ("GET /repos/*", "GET", "/repos/a%20b", True),
        ("GET /repos/*", "GET", "/repos/", False),
        ("GET /repos/*", "GET", "/repos", False),
        ("GET /repos/*", "GET", "/repos/a/b", False),
        ("GET /repos/*/issues", "GET", "/repos/a/issues", True),
        ("GET /repos/*/issues", "GET", "/repos/a/b/issues", False),
        ("GET /repos/*/*/issues/**", "GET", "/repos/a/b/issues/1/comments", True),
        ("* /public/**", "GET", "/public/a/b", True),
        ("* /public/**", "DELETE", "/public/", True),
        ("* /public/**", "GET", "/public", False),
        ("* /public/**", "GET", "/publicity/a", False),
        ("GET /**", "GET", "/", True),
        ("GET /**", "GET", "/a/b/c", True),
        ("GET /a%2Cb", "GET", "/a%2Cb", True),
        ("GET /a%2Cb", "GET", "/a%2cb", False),
        ("GET /a%2Cb", "GET", "/a,b", False),
    ],
)
def test_an_entry_covers_what_it_says_and_nothing_else(entry: str, method: str, path: str, covered: bool) -> None:
    """Compared as it is sent: method, number of segments, each segment."""
    assert allows([entry], method, path) is covered
    assert allows(["PUT /elsewhere", entry], method, path) is covered


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b", "/..", "/a/.", "/./a", "/a/%2e%2e/b", "/a/%2E./b", "/a/..;/b", "/a/..;x=1/b", "/a/%2e%2e%3b/b",
        "/a/..%20/b", "/;/a", "/a/;x", "//a", "/a//b", "/a/%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a%252fb", "/a%25b",
        "/a\\b", "/a\\..\\b", "/a%00", "/a%0d%0ab", "/a%7f", "/a%c0%ae", "/%c0%ae%c0%ae/b", "/a%ff", "/a%", "/a%2",
        "/a%zz", "/a b", "/a\tb", "/ä", "/a?b", "/a#b", '/a"b', "/a<b", "/a|b", "/a^b", "/a`b", "/a{b}", "a", "", "*",
        "http://elsewhere.example/a", "/%EF%BC%8E%EF%BC%8E/b", "/a%EF%BC%8Fb", "/%E2%80%A5/b", "/a%EF%BC%BCb",
        "/a%E2%80%8Bb", "/a/%EF%BC%9Bx", "/a/%20/b",
    ],
)  # fmt: skip
def test_a_path_that_could_be_read_in_two_ways_is_covered_by_nothing(path: str) -> None:
    """Not even by an entry that covers every path."""  # G1
    assert is_ambiguous(path)
    assert not allows(["* /**"], "GET", path)


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/", "/a.b/...", "/a;v=1", "/@a:b/c,d", "/a%20b", "/%C3%A4", "/~a/!$&'()"]
)
def test_a_plain_path_is_let_through(path: str) -> None:
    """What URIs are made of, and what is encoded because it has to be."""
    assert not is_ambiguous(path)
    assert allows(["* /**"], "GET", path)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "GET", "/user", "GET  /user", " GET /user", "GET /user ", "get /user", "Get /user", "CONNECT /user",
        "TRACE /user", "GET user", "GET *", "GET /repos*", "GET /re*pos", "GET /**/issues", "GET /***", "GET /a**",
        "GET /user?x=1", "GET /user#x", "GET https://api.example/user", "GET,POST /user", "GET /a/../b", "GET //a",
        "GET /a%2Fb", "GET /ä", "GET /a b", "GET /user\n", "GET\t/user", "** /user", "GET /" + "a" * ENTRY_LENGTH,
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused(text: str) -> None:
    """Nothing is guessed; and no entry that could never cover anything."""
    with pytest.raises(ValueError, match=r"needed|must|stands|could"):
        parse_entry(text)


async def test_a_list_is_stored_and_read_again(heart: Heart, raw_store: redis.Redis) -> None:
    """Repeated entries once; a client that was stored without a list has none."""
    made, _ = await heart.clients.create("app", scopes=["proxy"], allow=["GET /b", "GET /a", "GET /b"])
    assert made.allow == ("GET /b", "GET /a")
    assert await heart.clients.read(made.client_id) == made
    assert made.reach.allow == made.allow
    rewrite(raw_store, names.client(made.client_id), allow=None)
    read = await heart.clients.read(made.client_id)
    assert read is not None
    assert read.allow is None


@pytest.mark.parametrize(
    ("allow", "fields"),
    [
        ([], ["allow"]),
        (["GET /a"] + [f"GET /{n}" for n in range(ENTRIES_AT_MOST)], ["allow"]),
        (["GET /a", "x", "GET /b", "y"], ["allow.1", "allow.3"]),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(heart: Heart, allow: list[str], fields: list[str]) -> None:
    """An empty one, too: it isn't taken for no list, nor for one that forbids everything."""
    with pytest.raises(InvalidRequest) as refused:
        await heart.clients.create("app", scopes=["proxy"], allow=allow)
    assert [fault.field for fault in refused.value.faults] == fields


async def test_the_policy_tells_what_was_missing(heart: Heart) -> None:
    """Without a list everything goes; with one, the refusal says whether an entry or a plain path is missing."""
    free, _ = await heart.clients.create("free", scopes=["proxy"])
    held, _ = await heart.clients.create("held", scopes=["proxy"], allow=["GET /user"])
    permit_request(Caller(free.client_id, frozenset(), free.reach), "DELETE", "/a/../b")
    caller = Caller(held.client_id, frozenset(), held.reach)
    permit_request(caller, "GET", "/user")
    with pytest.raises(Forbidden, match="no entry"):
        permit_request(caller, "POST", "/user")
    with pytest.raises(Forbidden, match="more than one way"):
        permit_request(caller, "GET", "/a/../user")

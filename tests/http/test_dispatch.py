"""The table of routes: every path leads one way, or nowhere."""

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route

from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.http.dispatch import Dispatch

PATHS = [
    "/",
    "/things",
    "/things/{thing}",
    "/things/{thing}/parts",
    "/things/{owner}/parts/{part}",
    "/files/{path:path}",
    "/of/{thing}/{path:path}",
]


async def _answer(_request: Request) -> Response:
    return PlainTextResponse("")


def routes(*paths: str, method: str = "GET") -> list[Route]:
    """A route for each path."""
    return [Route(path, _answer, methods=[method]) for path in paths]


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/things", "/things/x", "/things/x/parts", "/things/x/parts/y"),
        *("/files/", "/files/a/b", "/files//a", "/of/x/", "/of/x/y/z"),
        *("", "//", "x", "/things/", "/things//parts", "/things/x/", "/things/x/parts/", "/files", "/of", "/of/x"),
        *("/of//y", "/Things", "/things/x/other", "/things/x/parts/y/z", "/things/{thing}", "/nothing"),
    ],
)
def test_a_path_leads_where_starlette_would_lead_it(path: str) -> None:
    """The same routes, the same parameters, and the same paths that lead nowhere."""
    table = routes(*PATHS)
    scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
    expected = [(route, child) for route in table for match, child in [route.matches(scope)] if match is Match.FULL]
    found, parameters = Dispatch(table).find(path)
    if not expected:
        assert (found, parameters) == ({}, {})
    else:
        assert found["GET"] is expected[0][0]
        assert parameters == expected[0][1]["path_params"]


def test_the_end_of_a_line_is_a_character_like_any_other() -> None:
    """A regular expression's ``$`` would let a last one pass, and hand over the parameter without it."""  # G1
    dispatch = Dispatch(routes(*PATHS))
    assert dispatch.find("/things\n") == ({}, {})
    assert dispatch.find("/things/x\n")[1] == {"thing": "x\n"}
    assert dispatch.find("/files/a\nb\n")[1] == {"path": "a\nb\n"}


def test_a_path_has_a_route_for_each_method() -> None:
    """And HEAD where there is GET (RFC 9110 §9.3.2)."""
    reading, writing = *routes("/things/{thing}"), *routes("/things/{thing}", method="POST")
    found, _ = Dispatch([reading, writing]).find("/things/x")
    assert found == {"GET": reading, "HEAD": reading, "POST": writing}


@pytest.mark.parametrize(
    "paths",
    [
        ("/things", "/things"),
        ("/things/{thing}", "/things/{other}"),
        ("/{path:path}/things",),
    ],
)
def test_templates_that_cant_be_told_apart_are_refused(paths: tuple[str, ...]) -> None:
    """At the start, and not at the first request that one of them loses."""
    with pytest.raises(ValueError, match="/things"):
        Dispatch(routes(*paths))


def test_every_route_of_the_broker_is_found(heart: Heart) -> None:
    """By a path of its own template."""
    app = app_of(heart)
    table = [route for route in app.routes if isinstance(route, Route)]
    assert len(table) == len(app.routes) > 30
    for route in table:
        found, _ = Dispatch(table).find(route.path)
        assert all(found[method] is route for method in route.methods or ())

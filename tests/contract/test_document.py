"""``/openapi.json`` is complete, well-formed, and made of what validates."""

from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from broker.app.composition import app_of
from broker.app.heart import Heart


@pytest.fixture
async def document(http: httpx2.AsyncClient) -> dict[str, Any]:
    """The document of the composed broker."""
    answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    made: dict[str, Any] = answer.json()
    return made


def operations_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Method and path → operation."""
    return {
        (method.upper(), path): each for path, methods in document["paths"].items() for method, each in methods.items()
    }


async def test_the_document_names_every_route_and_no_other(heart: Heart, document: dict[str, Any]) -> None:
    """Each method of each path but static files, which are mounted; HEAD goes with GET, as the document says."""
    routes = [route for route in app_of(heart).routes if isinstance(route, Route)]
    served = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert operations_of(document).keys() == served

"""``/openapi.json`` is complete, well formed, and made of what validates."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from starlette.routing import Route

from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.downstream.api import bodies
from broker.downstream.openapi.requests import without_converters
from broker.downstream.openapi.words import SCOPES, TAGS
from broker.models.access import CLIENT_SCOPES
from tests.journey import MakeClient
from tests.world import PUBLIC_URL


@pytest.fixture
async def document(http: httpx2.AsyncClient) -> dict[str, Any]:
    """The document of the composed broker."""
    answer = await http.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    made: dict[str, Any] = answer.json()
    return made


def operations_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Method and path → operation."""
    return {
        (method.upper(), path): shown
        for path, methods in document["paths"].items()
        for method, shown in methods.items()
    }


def everything_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within, the outermost first."""
    if isinstance(value, dict):
        yield value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything_in(member)


async def test_the_document_names_every_route_and_no_other(heart: Heart, document: dict[str, Any]) -> None:
    """Each method of each path but static files, which are mounted; HEAD goes with GET, as the document says."""
    routes = [route for route in app_of(heart).routes if isinstance(route, Route) and route.include_in_schema]
    served = {
        (method, without_converters(route.path)) for route in routes for method in (route.methods or set()) - {"HEAD"}
    }
    assert operations_of(document).keys() == served


async def test_it_holds_together(document: dict[str, Any]) -> None:
    """Every reference leads somewhere, nothing is left over, names are given once, and schemas are schemas."""
    references = {value["$ref"] for value in everything_in(document) if "$ref" in value}
    places = {
        f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in document["components"][kind]
    }
    assert {place for place in references if "/headers/" not in place} == places
    assert {place.rpartition("/")[2] for place in references if "/headers/" in place} <= document["components"][
        "headers"
    ].keys()
    names = [operation["operationId"] for operation in operations_of(document).values()]
    assert len(names) == len(set(names))
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


async def test_an_operation_says_what_it_takes_to_call_it(document: dict[str, Any]) -> None:
    """A client scope, or client authentication, or nothing; what isn't on the JSON or OAuth face takes nothing."""
    flows = document["components"]["securitySchemes"]["broker_token"]["flows"]
    assert flows["clientCredentials"]["tokenUrl"] == f"{PUBLIC_URL}/oauth/token"
    assert list(flows["clientCredentials"]["scopes"]) == list(CLIENT_SCOPES)
    taken = {name: operation["security"] for name, operation in operations_of(document).items()}
    assert taken["POST", "/v1/connections/{connection_id}/token"] == [{"broker_token": ["tokens:read"]}]
    assert taken["GET", "/v1/providers"] == [{"broker_token": []}]
    assert taken["POST", "/oauth/token"] == [{"client_secret_basic": []}, {}]
    assert {path.split("/")[1] for (_, path), security in taken.items() if security} == {"v1", "oauth", "proxy"}


async def test_what_an_operation_takes_is_asked_for(
    document: dict[str, Any], http: httpx2.AsyncClient, make_client: MakeClient
) -> None:
    """Without authentication it is 401, with every client scope but the one that is named 403."""
    lacking = {
        scope: await make_client(scopes=tuple(s for s in CLIENT_SCOPES if s != scope)) for scope in CLIENT_SCOPES
    }
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for (method, path), operation in operations_of(document).items():
        if operation["security"]:
            address = re.sub(r"{\w+}", "x", path)
            nobody = await http.request(method, address, headers=form if path.startswith("/oauth/") else {})
            assert nobody.status_code == 401, path
            for scope in operation["security"][0].get("broker_token", ()):
                refused = await lacking[scope].call(method, address)
                assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope"), path


async def test_what_can_be_told_to_wait_says_for_how_long(document: dict[str, Any]) -> None:
    """429 and 503 have Retry-After, 401 names the scheme; all are there wherever a client authenticates."""
    for (_, path), operation in operations_of(document).items():
        answers = {status: _resolved(document, shown) for status, shown in operation["responses"].items()}
        unread = {status for status, shown in operation["responses"].items() if "/head." in shown.get("$ref", "")}
        assert {"414", "431", "501"} <= unread, path
        assert {"400", "503"} <= answers.keys(), path
        assert all("X-Request-Id" in answers[status]["headers"] for status in answers.keys() - unread)
        assert all("Retry-After" in answers[status]["headers"] for status in ("429", "503") if status in answers)
        if operation["security"]:
            # The proxy passes on bodies of any kind.
            kinds = set() if path.startswith("/proxy/") else {"415"}
            assert {"400", "401", "413", "429", "503"} | kinds <= answers.keys(), path
            assert "WWW-Authenticate" in answers["401"]["headers"]


async def test_every_word_of_the_vocabulary_is_used(document: dict[str, Any]) -> None:
    """What scopes and groups are called stands beside the models, where it could be forgotten."""
    assert list(SCOPES) == list(CLIENT_SCOPES)
    assert [tag["name"] for tag in document["tags"]] == list(TAGS)
    assert {tag for operation in operations_of(document).values() for tag in operation["tags"]} == set(TAGS)


async def test_the_document_speaks_the_words_of_the_models(document: dict[str, Any]) -> None:
    """Docstrings are descriptions, without markup that only a Python programmer reads."""
    schemas = document["components"]["schemas"]
    stale = schemas["FetchToken"]["properties"]["stale_generation"]
    assert stale["description"].startswith("The generation that the provider refused")
    told = [value["description"] for value in everything_in(document) if isinstance(value.get("description"), str)]
    assert [text for text in told if re.search(r":[a-z]+:`", text)] == []


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (bodies.FetchToken, '{"min_ttl": "60"}'),
        (bodies.FetchToken, '{"min_ttl": true}'),
        (bodies.FetchToken, '{"min_ttl": 60.5}'),
        (bodies.FetchToken, '{"min_ttl": 1e400}'),
        (bodies.FetchToken, '{"surprise": 1}'),
        (bodies.FetchToken, "[]"),
        (bodies.FetchToken, '{"min_ttl": 60.0}'),
        (bodies.FetchToken, '{"min_ttl": null, "stale_generation": null}'),
        (bodies.FetchToken, "{}"),
    ],
)
async def test_the_schema_and_the_model_agree(document: dict[str, Any], model: type[bodies.Body], asked: str) -> None:
    """A number in quotes is none, ``60.0`` is 60, ``null`` is absent: for the reader of either."""
    schema = {**document["components"]["schemas"][model.__name__], "components": document["components"]}
    allowed = jsonschema_rs.Draft202012Validator(schema).is_valid(json.loads(asked))
    try:
        model.model_validate_json(asked)
    except ValueError:
        assert not allowed
    else:
        assert allowed


def _resolved(document: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    place = shown.get("$ref")
    found: dict[str, Any] = document["components"]["responses"][place.rpartition("/")[2]] if place else shown
    return found

"""What is absent: a field that is ``null``, a query parameter without a value; and what is a fault all the same."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from broker.connections.proof import CompletionRequest
from broker.downstream.api import bodies
from broker.downstream.api.bodies import Body
from tests.downstream.answers import code_of
from tests.world import ServiceClient

REQUIRED: dict[type[Body], dict[str, Any]] = {
    bodies.OpenConnectSession: {"provider": "practice", "subject": "ann"},
    bodies.CompleteConnectSession: {"completion_code": "x", "subject": "ann"},
    bodies.CreateConnection: {"provider": "practice", "subject": "ann", "credentials": {}},
    bodies.PatchConnection: {},
    bodies.FetchToken: {},
    bodies.AuthorizeRequest: {"method": "GET", "url": "https://api.example/me"},
    bodies.IssueReference: {"audience": "cl_x"},
    bodies.RegisterWorkload: {"issuer": "https://platform.example", "subject": "job", "audience": "broker"},
    bodies.CreateClient: {"name": "app", "scope": "connect"},
    bodies.ListConnections: {},
    bodies.ListEvents: {},
}
EVERY = list(REQUIRED)


def test_every_body_is_looked_at() -> None:
    """A new one is not there until it stands in the list."""
    found = {kind for kind in vars(bodies).values() if isinstance(kind, type) and issubclass(kind, Body)}
    assert found - {Body, bodies.Paging} == set(EVERY)


@pytest.mark.parametrize("model", [model for model in EVERY if model is not bodies.PatchConnection])
def test_a_null_is_absent_wherever_a_field_is_optional(model: type[Body]) -> None:
    """Each optional field as ``null``, one by one and all together, means what leaving it out means."""
    required = REQUIRED[model]
    optional = {field.alias or name for name, field in model.model_fields.items()} - required.keys()
    expected = model.model_validate_json(json.dumps(required))
    for nulls in (dict.fromkeys(optional), *({name: None} for name in optional)):
        assert model.model_validate_json(json.dumps({**required, **nulls})) == expected


@pytest.mark.parametrize("model", EVERY)
def test_a_null_does_not_stand_for_what_is_required_or_unknown(model: type[Body]) -> None:
    """The fault names the field."""
    for name in [*REQUIRED[model], "surprise"]:
        with pytest.raises(ValidationError) as caught:
            model.model_validate_json(json.dumps({**REQUIRED[model], name: None}))
        assert [fault["loc"] for fault in caught.value.errors()] == [(name,)]


async def test_the_routes_take_null_for_absent(app: ServiceClient, connection: dict[str, Any]) -> None:
    """As languages write it whose objects have all their fields."""
    one = f"/v1/connections/{connection['id']}"
    order = {"provider": "practice", "subject": "ann", "scopes": None, "parameters": None, "metadata": None}
    for path, body, status in (
        ("/v1/connect-sessions", {**order, "allow_account_change": None, "completion": None}, 201),
        ("/v1/connections", {**order, "credentials": {}, "validate": None}, 201),
        (f"{one}/token", {"min_ttl": None, "stale_generation": None}, 200),
        (f"{one}/references", {"audience": app.client_id, "expires_in": None, "max_uses": None}, 201),
    ):
        answer = await app.call("POST", path, body)
        assert answer.status_code == status, answer.text


async def test_a_query_parameter_without_a_value_is_absent(app: ServiceClient, connection: dict[str, Any]) -> None:
    """As forms and templates write it; an unknown one is still a fault, and so is one given twice."""
    for path in (
        "/v1/connections?provider=&status=&cursor=&limit=",
        "/v1/events?type=&cursor=&limit=",
        f"/v1/connections/{connection['id']}/events?type=",
    ):
        answer = await app.call("GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"]
    for query in ("surprise=", "subject=", "subject=&subject=ann"):
        answer = await app.call("GET", f"/v1/connections?{query}")
        assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


def test_what_is_secret_in_a_body_does_not_show_in_its_repr() -> None:
    """Nor in what is made of it: logs and tracebacks may hold a repr."""  # K1
    completing = {"completion_code": "canary", "subject": "ann"}
    assert "canary" not in repr(bodies.CompleteConnectSession.model_validate(completing))
    assert "canary" not in repr(CompletionRequest(**completing))
    order = {"provider": "practice", "subject": "ann"}
    assert "canary" not in repr(bodies.OpenConnectSession.model_validate({**order, "state": "canary"}))
    given = {**order, "credentials": {"api_key": "canary"}}
    assert "canary" not in repr(bodies.CreateConnection.model_validate(given))

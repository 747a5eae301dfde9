"""Problem documents: one form, whoever says no."""

import json

from broker.errors import FieldFault
from broker.http.problems import problem_document


def test_every_problem_has_the_same_members() -> None:
    """RFC 9457's own, the broker's code, the request's id, and ``errors`` also where no field is at fault."""
    answer = problem_document(405, "method_not_allowed", "not that way", "req_1", headers={"Allow": "GET"})
    assert json.loads(bytes(answer.body)) == {
        "type": "about:blank",
        "title": "Method not allowed",
        "status": 405,
        "code": "method_not_allowed",
        "detail": "not that way",
        "request_id": "req_1",
        "errors": [],
    }
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.headers["allow"], answer.headers["cache-control"]) == ("GET", "no-store")


def test_fields_at_fault_and_members_of_one_code_are_added() -> None:
    """Each field with what is wrong with it; ``missing`` stands beside the common members."""
    faults = [FieldFault("subject", "too long")]
    answer = problem_document(409, "x_y", "no", "req_1", faults=faults, more={"missing": ["repo"]})
    body = json.loads(bytes(answer.body))
    assert body["errors"] == [{"field": "subject", "message": "too long"}]
    assert body["missing"] == ["repo"]


def test_of_many_faults_the_first_fifty_are_told() -> None:
    """A small request is not answered by a large answer."""  # S11
    faults = [FieldFault(f"f{i}", "unknown field") for i in range(9_000)]
    answer = problem_document(400, "invalid_request", "no", "req_1", faults=faults)
    assert [fault["field"] for fault in json.loads(bytes(answer.body))["errors"]] == [f"f{i}" for i in range(50)]

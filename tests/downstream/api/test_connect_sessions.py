"""Connect sessions as services see them: opened, watched, each its opener's own."""

from typing import Any

import httpx2
import pytest

from tests.downstream.answers import code_of, nameless
from tests.journey import MakeClient
from tests.world import PUBLIC_URL, RETURN_URL, FakeClock, Person, ServiceClient


async def test_opening_answers_201_with_the_link(app: ServiceClient, clock: FakeClock) -> None:
    """Exactly the documented members; the link leads to the broker and nowhere else."""
    answer = await app.call("POST", "/v1/connect-sessions", {"provider": "practice", "subject": "ann"})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"id", "connect_url", "status", "expires_at"}
    assert body["status"] == "pending"
    assert body["connect_url"].startswith(f"{PUBLIC_URL}/connect/ch_")


async def test_a_session_is_watched_without_its_link(app: ServiceClient, person: Person, clock: FakeClock) -> None:
    """Its status follows what happens; neither link nor completion code nor state is shown."""  # K1
    opened = await app.open_session(state="planted-app-state", metadata={"x": 1})
    path = f"/v1/connect-sessions/{opened['id']}"

    async def status() -> str:
        shown = await app.call("GET", path)
        assert shown.json().keys() == {
            "id", "status", "provider", "subject", "completion", "connection_id", "error", "error_detail", "created_at",
            "expires_at",
        }  # fmt: skip
        assert not any(secret in shown.text for secret in (opened["connect_url"].split("/")[-1], "st_", "ch_", 'code"'))
        return str(shown.json()["status"])

    assert await status() == "pending"
    callback = await person.approve(opened["connect_url"])
    assert await status() == "authorizing"
    await person.arrive(callback)
    assert await status() == "awaiting_completion"
    clock.advance(seconds=301)
    assert await status() == "expired"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"provider": "nowhere"}, 400),
        ({"provider": "unconfigured"}, 409),
        ({"return_url": "https://evil.example/"}, 400),
        ({"return_url": RETURN_URL + "/"}, 400),
        ({"return_url": RETURN_URL, "completion": "code"}, 400),
        ({"completion": "browser"}, 403),
        ({"completion": "nobody"}, 400),
        ({"scopes": ["two words"]}, 400),
        ({"scopes": ['quo"te']}, 400),
        ({"parameters": {"unknown": "x"}}, 400),
        ({"connection_id": "con_" + "0" * 22}, 404),
        ({"connection_id": "x"}, 404),
    ],
)
async def test_what_cannot_be_opened_is_refused(app: ServiceClient, change: dict[str, Any], status: int) -> None:
    """Each fault with its code."""
    answer = await app.call("POST", "/v1/connect-sessions", {"provider": "practice", "subject": "ann", **change})
    assert answer.status_code == status
    expected = {400: "invalid_request", 403: "forbidden", 404: "not_found", 409: "conflict"}
    assert code_of(answer) == expected[status]


async def test_a_session_is_its_openers(app: ServiceClient, person: Person, make_client: MakeClient) -> None:
    """Another client of the same tenant can neither watch nor complete it; unknown and foreign are alike."""  # S5
    beside = await make_client("beside")
    opened = await app.open_session()
    code = (await person.connect(opened["connect_url"]))["completion_code"]
    for session_id in (opened["id"], "cs_" + "0" * 22):
        shown = await beside.call("GET", f"/v1/connect-sessions/{session_id}")
        completed = await beside.complete(session_id, code)
        assert (shown.status_code, completed.status_code) == (404, 404)
        assert nameless(shown) == nameless(completed)
    assert (await app.complete(opened["id"], code)).status_code == 200


@pytest.mark.parametrize("reach", ["tenant", "provider"])
async def test_a_connection_out_of_reach_can_not_be_renewed(
    app: ServiceClient, connection: dict[str, Any], make_client: MakeClient, sandbox: httpx2.Client, reach: str
) -> None:
    """It is answered like one that does not exist."""  # S5
    other = await make_client(
        "other",
        tenant="elsewhere" if reach == "tenant" else "default",
        providers=("practice-two",) if reach == "provider" else None,
    )
    answers = [
        await other.call(
            "POST", "/v1/connect-sessions", {"provider": "practice-two", "subject": "ann", "connection_id": name}
        )
        for name in (connection["id"], "con_" + "0" * 22)
    ]
    assert answers[0].status_code == 404
    assert nameless(answers[0]) == nameless(answers[1])


@pytest.mark.parametrize("change", [{"subject": "bob"}, {"provider": "practice-two"}])
async def test_a_renewal_keeps_subject_and_provider(
    app: ServiceClient, connection: dict[str, Any], change: dict[str, str]
) -> None:
    """A connection does not change hands."""
    order = {"provider": "practice", "subject": "ann", "connection_id": connection["id"], **change}
    answer = await app.call("POST", "/v1/connect-sessions", order)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json()["errors"]] == list(change)


async def test_a_deleted_clients_token_opens_nothing(app: ServiceClient, heart: Any) -> None:
    """Even in the moment before its token is looked at again."""  # S13
    await app.call("GET", "/v1/connections")
    await heart.clients.delete(app.client_id)
    answer = await app.call("POST", "/v1/connect-sessions", {"provider": "practice", "subject": "ann"})
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")

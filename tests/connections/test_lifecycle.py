"""A connection's life without a browser: made by the app itself, refreshed and tested on demand."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from broker.app.heart import Heart
from broker.errors import BrokerError, OutcomeUnknown, ProviderError
from broker.models.account import Account
from broker.models.connection import Whoami
from tests.connections.practice import behave, refreshes
from tests.world import FakeClock, Person, ServiceClient

MakeClient = Callable[..., Awaitable[ServiceClient]]


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """A client with every scope."""
    return await make_client()


def whoamis(sandbox: httpx2.Client) -> int:
    """How often the provider was asked whose token it is."""
    return int(sandbox.get("/counters").json()["whoami"])


async def post(app: ServiceClient, path: str, body: Any = None) -> httpx2.Response:
    """A POST with a broker token of this moment."""
    return await ServiceClient(app.http, app.client_id, app.secret).call("POST", path, body)


async def test_an_app_connects_itself(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """The client credentials grant makes a connection at once; its token works, and no person took part."""
    body = {
        "provider": "practice",
        "subject": "robot",
        "credentials": {},
        "scopes": ["messages.read"],
        "label": "nightly",
        "metadata": {"team": 7},
    }
    made = await post(app, "/v1/connections", body)
    assert made.status_code == 201
    connection = made.json()
    assert (connection["credential_type"], connection["scopes"]) == ("client_credentials", ["messages.read"])
    assert (connection["label"], connection["metadata"]) == ("nightly", {"team": 7})
    token = (await app.fetch(connection["id"])).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx2.get(f"{sandbox.base_url}/api/messages", headers=bearer).status_code == 200
    counters = sandbox.get("/counters").json()
    assert counters["token"]["client_credentials"] == {"ok": 1, "error": 0}
    assert counters["authorize"] == 0


async def test_an_app_may_connect_unasked(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """By default the provider is asked whose account it is; with ``validate: false`` only for the token."""
    order = {"provider": "practice", "subject": "robot", "credentials": {}}
    asked = await post(app, "/v1/connections", order)
    assert (asked.status_code, asked.json()["account"]["id"], whoamis(sandbox)) == (201, "practice-client", 1)
    unasked = await post(app, "/v1/connections", {**order, "validate": False})
    assert (unasked.status_code, unasked.json()["account"], whoamis(sandbox)) == (201, None, 1)
    assert unasked.json()["health"]["last_checked_at"] is None
    assert (await app.fetch(unasked.json()["id"])).status_code == 200


async def test_a_provider_that_is_not_ready_makes_none(app: ServiceClient, sandbox: httpx2.Client) -> None:
    """The answer names what is missing and nothing is sent."""
    made = await post(app, "/v1/connections", {"provider": "unconfigured", "subject": "robot", "credentials": {}})
    assert (made.status_code, made.json()["code"]) == (409, "conflict")
    assert "NOT_SET_ANYWHERE" in made.json()["detail"]
    assert sandbox.get("/counters").json()["token"]["client_credentials"] == {"ok": 0, "error": 0}


async def test_a_refresh_on_demand_happens_whatever_the_tokens_age(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Each call is one refresh, and answers the connection afterwards."""
    connection = await app.connect(Person(http))
    for generation in (2, 3):
        refreshed = await post(app, f"/v1/connections/{connection['id']}/refresh")
        assert (refreshed.status_code, refreshed.json()["generation"]) == (200, generation)
    assert refreshes(sandbox) == (2, 0)
    assert refreshed.json()["health"]["last_refreshed_at"] is not None


async def test_a_living_connection_passes_its_test(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """The provider says whose account it is; the token was good, so it was not refreshed."""
    connection = await app.connect(Person(http))
    asked = whoamis(sandbox)
    tested = await post(app, f"/v1/connections/{connection['id']}/test")
    assert tested.json()["status"] == "healthy"
    assert tested.json()["account"] == {"id": "usr_1001", "name": "alice@practice.example"}
    assert (whoamis(sandbox), refreshes(sandbox)) == (asked + 1, (0, 0))


async def test_an_expired_token_is_refreshed_before_the_test(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """An old token proves nothing."""
    connection = await app.connect(Person(http))
    clock.advance(seconds=3601)
    asked = whoamis(sandbox)
    assert (await post(app, f"/v1/connections/{connection['id']}/test")).status_code == 200
    assert (whoamis(sandbox), refreshes(sandbox)) == (asked + 1, (1, 0))


async def test_a_token_dead_before_its_time_is_refreshed_once(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """The provider refuses a token that should live: a refresh tells whether the grant lives, and here it does."""
    connection = await app.connect(Person(http))
    behave(sandbox, expire_access_tokens=True)
    asked = whoamis(sandbox)
    tested = await post(app, f"/v1/connections/{connection['id']}/test")
    assert (tested.status_code, tested.json()["status"]) == (200, "healthy")
    assert (whoamis(sandbox), refreshes(sandbox)) == (asked + 2, (1, 0))


async def test_a_dead_grant_fails_its_test(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """The connection needs the person, and a second test asks nobody."""  # P7
    connection = await app.connect(Person(http))
    behave(sandbox, revoke_grants=True)
    asked = whoamis(sandbox)
    for _ in range(2):
        tested = await post(app, f"/v1/connections/{connection['id']}/test")
        assert (tested.status_code, tested.json()["code"]) == (409, "reauth_required")
    assert refreshes(sandbox) == (0, 1)
    assert whoamis(sandbox) <= asked + 2


@pytest.fixture
def whoami(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> Callable[[Account | BrokerError], None]:
    """Decides what the provider says to the question whose account it is."""

    def answers(answer: Account | BrokerError) -> None:
        async def identify(*_: object, **__: object) -> Whoami:
            if isinstance(answer, BrokerError):
                raise answer
            return Whoami(answer)

        monkeypatch.setattr(heart.upstream, "identify", identify)

    return answers


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (OutcomeUnknown("it did not answer"), 503),
        (ProviderError("it made no sense"), 502),
        (Account("usr_of_somebody_else"), 502),
    ],
)
async def test_what_a_test_finds_is_noted(
    app: ServiceClient,
    http: httpx2.AsyncClient,
    whoami: Callable[[Account | BrokerError], None],
    answer: Account | BrokerError,
    status: int,
) -> None:
    """A test that fails is seen in the connection's health; one that goes well afterwards clears it."""
    connection = await app.connect(Person(http))
    whoami(answer)
    assert (await post(app, f"/v1/connections/{connection['id']}/test")).status_code == status
    health = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()["health"]
    assert (health["status"], health["consecutive_failures"]) == ("degraded", 1)
    assert health["last_error"]["code"] in {"provider_error", "provider_unavailable"}
    whoami(Account(connection["account"]["id"]))
    assert (await post(app, f"/v1/connections/{connection['id']}/test")).status_code == 200
    health = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()["health"]
    assert (health["status"], health["last_error"]) == ("healthy", None)


async def test_a_test_makes_nothing_healthy_that_needs_the_person(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Not even while the last access token lives on: the reason stays, and the answer is that of a fetch."""
    connection = await app.connect(Person(http), provider="practice-graceful")
    behave(sandbox, revoke_grants=True)
    assert (await post(app, f"/v1/connections/{connection['id']}/refresh")).status_code == 409
    tested = await post(app, f"/v1/connections/{connection['id']}/test")
    assert (tested.status_code, tested.json()["code"]) == (409, "reauth_required")
    health = (await app.call("GET", f"/v1/connections/{connection['id']}")).json()["health"]
    assert health["last_error"]["code"] == "revoked_at_provider"


async def test_min_ttl_that_no_token_meets_is_one_refresh(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, clock: FakeClock
) -> None:
    """The provider grants an hour, so asking for two again and again refreshes once, not each time."""
    connection = await app.connect(Person(http))
    answers = [(await app.fetch(connection["id"], min_ttl=7200)).json() for _ in range(5)]
    assert {answer["generation"] for answer in answers} == {2}
    assert refreshes(sandbox) == (1, 0)
    clock.advance(seconds=61)
    assert (await app.fetch(connection["id"], min_ttl=7200)).json()["generation"] == 3


async def test_a_slow_answer_does_not_lengthen_a_tokens_life(
    app: ServiceClient, http: httpx2.AsyncClient, heart: Heart, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its life is counted from before the request, and what is left of it at the moment of the answer is told."""
    connection = await app.connect(Person(http))
    send = heart.upstream._egress.send

    async def slowly(*arguments: Any, **options: Any) -> Any:
        answer = await send(*arguments, **options)
        clock.advance(seconds=8)
        return answer

    monkeypatch.setattr(heart.upstream._egress, "send", slowly)
    answer = (await app.fetch(connection["id"], stale_generation=1)).json()
    assert (answer["generation"], answer["expires_in"]) == (2, 3592)

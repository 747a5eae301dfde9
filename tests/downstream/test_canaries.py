"""Planted secrets, good and malformed paths, logging at DEBUG: then everything that was kept or said is searched."""

# K1

from collections.abc import AsyncIterator
from io import StringIO
from typing import Any

import httpx2
import pytest
import redis

from broker.app.composition import app_of
from broker.app.heart import Heart
from broker.settings import Settings
from broker.vault.journal import Journal
from tests.downstream.eavesdropper import Eavesdropper, Secrets
from tests.downstream.oauth.calls import introspect, reference_for, revoke
from tests.journey import everything_in
from tests.world import PUBLIC_URL, FakeClock, Person, ServiceClient, parameters_of

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def ear(heart: Heart) -> Eavesdropper:
    """Hears every exchange with the broker."""
    app = app_of(heart)
    return Eavesdropper(httpx2.ASGITransport(app, client=("203.0.113.7", 40_000), raise_app_exceptions=False))


@pytest.fixture
async def http(ear: Eavesdropper) -> AsyncIterator[httpx2.AsyncClient]:
    """The broker's faces, overheard."""
    async with httpx2.AsyncClient(transport=ear, base_url=PUBLIC_URL) as client:
        yield client


@pytest.fixture
def secrets(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """The secrets that no request shows: the encryption key, the app's secret at the provider, and the wire's."""
    secrets = Secrets()
    for _, key in settings.encryption_keys or ():
        secrets.plant("encryption key", key.decode())
    secrets.plant("secret at the provider", "practice-secret")
    secrets.listen_to_the_wire(monkeypatch)
    return secrets


class Story:
    """The whole life of connections; remembers its secrets, and what lay in the store after each step."""

    def __init__(self, app: ServiceClient, person: Person, secrets: Secrets, store: redis.Redis) -> None:
        self.app, self.person, self.secrets = app, person, secrets
        self._store = store
        self.stored: list[bytes] = []

    def look(self) -> None:
        """Keep what lies in the store now."""
        self.stored.append(everything_in(self._store))

    async def connect(self, **body: Any) -> dict[str, Any]:
        """Connect an account, step by step."""
        self.secrets.plant("client secret", self.app.secret)
        self.secrets.plant("broker token", await self.app.broker_token())
        opened = await self.app.open_session(**body)
        self.secrets.plant("connect handle", opened["connect_url"].rsplit("/", 1)[1])
        self.look()
        left = await self.person.press(opened["connect_url"])
        self.secrets.plant("state", parameters_of(left.headers["location"])["state"])
        self.secrets.plant("cookie", *self.person.broker.cookies.values())
        self.look()
        callback = await self.person.consent(left.headers["location"])
        self.secrets.plant("authorization code", parameters_of(callback)["code"])
        arrived = await self.person.arrive(callback)
        completion = parameters_of(arrived.headers["location"])["completion_code"]
        self.secrets.plant("completion code", completion)
        self.look()
        completed = (await self.app.complete(opened["id"], completion)).json()
        self.secrets.plant("reference", completed["reference"])
        self.look()
        connection: dict[str, Any] = completed["connection"]
        return connection

    async def use(self, connection: dict[str, Any]) -> None:
        """Fetch, refer, redeem, refresh, test, introspect, read the record, disconnect."""
        await self.app.fetch(connection["id"])
        await self.app.fetch(connection["id"], stale_generation=1)
        reference = await reference_for(self.app, connection, self.app, max_uses=2)
        self.secrets.plant("reference", reference)
        await self.app.redeem(reference)
        await introspect(self.app, reference)
        await self.app.call("POST", f"/v1/connections/{connection['id']}/test")
        self.look()
        for path in ("/v1/events", "/v1/connections", "/v1/clients", f"/v1/connections/{connection['id']}"):
            await self.app.call("GET", path)
        await revoke(self.app, reference)
        await self.app.call("DELETE", f"/v1/connections/{connection['id']}")
        await self.app.fetch(connection["id"])
        self.look()


@pytest.fixture
async def story(app: ServiceClient, person: Person, secrets: Secrets, raw_store: redis.Redis) -> Story:
    """A person's account at a provider that rotates its refresh tokens."""
    return Story(app, person, secrets, raw_store)


async def test_no_secret_is_kept_or_said_on_the_way_that_works(
    story: Story, ear: Eavesdropper, secrets: Secrets, logged: StringIO, sandbox: httpx2.Client
) -> None:
    """Not in the store after any step, not in a log line, not in metrics; tokens in those answers that are for them."""
    sandbox.post("/control", json={"rotation": "revoke_on_reuse"}).raise_for_status()
    await story.use(await story.connect())
    exposed = (await story.app.http.get("/metrics")).text
    assert len(secrets.values) >= 14
    for stored in story.stored:
        assert secrets.found_in(stored) == set()
    assert "request" in logged.getvalue()
    assert secrets.found_in(logged.getvalue()) == set()
    assert secrets.found_in(exposed) == set()
    for exchange in ear.exchanges:
        found = {name.rsplit(" ", 1)[0] for name in secrets.found_in(exchange.body)}
        path = httpx2.URL(exchange.url).path
        if path.endswith("/token"):
            assert found <= {"broker token", "provider access token"}
        elif path.endswith(("/references", "/complete")):
            assert found == {"reference"}
        elif path == "/v1/connect-sessions":
            assert found == {"connect handle"}
        else:
            assert found == set(), path


async def test_no_token_is_ever_in_an_address(
    story: Story, ear: Eavesdropper, secrets: Secrets, sandbox: httpx2.Client
) -> None:
    """Neither asked for nor sent to: codes and states travel in addresses by the protocol, tokens and secrets never."""
    await story.use(await story.connect(scopes=["profile"]))
    by_protocol = {"connect handle", "state", "authorization code", "completion code", "code"}
    for exchange in ear.exchanges:
        locations = [line for line in exchange.headers.splitlines() if line.startswith("location:")]
        found = secrets.found_in("\n".join([exchange.url, *locations]))
        assert {name.rsplit(" ", 1)[0] for name in found} <= by_protocol


async def test_no_secret_comes_back_from_where_it_does_not_belong(
    story: Story, ear: Eavesdropper, secrets: Secrets, logged: StringIO, sandbox: httpx2.Client
) -> None:
    """Every secret in every wrong place: refused without repeating it, and neither logged nor counted nor stored."""
    connection = await story.connect()
    await story.app.fetch(connection["id"])
    sofar = len(ear.exchanges)
    for value in [value for value in secrets.values.values() if value.isascii() and value.isprintable()]:
        for call in _misplaced(value, connection["id"]):
            await _ask(story.app, call)
        story.look()
    answers = ear.exchanges[sofar:]
    assert len(answers) > 250
    for exchange in answers:
        assert exchange.status < 500
        if exchange.status >= 400:
            assert secrets.found_in(exchange.answer) == set(), (exchange.method, exchange.url)
    assert secrets.found_in(story.stored[-1]) == set()
    assert secrets.found_in(logged.getvalue()) == set()
    assert secrets.found_in((await story.app.http.get("/metrics")).text) == set()


async def test_no_secret_is_in_what_is_said_when_something_breaks(
    story: Story,
    ear: Eavesdropper,
    secrets: Secrets,
    logged: StringIO,
    sandbox: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
) -> None:
    """A revoked grant, a wrong subject, a bug of our own with secrets at hand: tracebacks are logged, secrets not."""
    connection = await story.connect()
    sandbox.post("/control", json={"revoke_grants": True}).raise_for_status()
    assert (await story.app.fetch(connection["id"], stale_generation=1)).status_code == 409
    opened = await story.app.open_session()
    returned = await story.person.connect(opened["connect_url"])
    secrets.plant("completion code", returned["completion_code"])
    assert (await story.app.complete(opened["id"], returned["completion_code"], "mallory")).status_code == 403

    async def broken(*_: object) -> None:
        raise RuntimeError(f"while holding {story.app.secret} and {{'access_token': '{max(secrets.values.values())}'}}")

    monkeypatch.setattr(Journal, "of_tenant", broken)
    answer = await story.app.call("GET", "/v1/events")
    assert answer.status_code == 500
    assert "RuntimeError" in logged.getvalue()
    story.look()
    assert secrets.found_in(logged.getvalue()) == set()
    assert secrets.found_in(story.stored[-1]) == set()
    for exchange in ear.exchanges:
        if exchange.status >= 400:
            assert secrets.found_in(exchange.answer) == set()
            assert "RuntimeError" not in exchange.answer


def _misplaced(secret: str, connection_id: str) -> list[dict[str, Any]]:
    """Requests with a secret where it does not belong; ``as_client`` says who sends them."""
    json = {"headers": {"Content-Type": "application/json"}, "as_client": True}
    form = {"headers": {"Content-Type": FORM}}
    token = f"/v1/connections/{connection_id}/token"
    return [
        {"path": f"/v1/connections?access_token={secret}"},
        {"path": f"/v1/connections?cursor={secret}&limit={secret}", "as_client": True},
        {"path": f"/v1/connections/{secret}", "as_client": True},
        {"path": f"/v1/providers/{secret}", "as_client": True},
        {"path": f"/v1/events?type={secret}", "as_client": True},
        {"path": f"/{secret}"},
        {"path": f"/connect/{secret}x"},
        {"path": f"/callback/practice?code={secret}&state={secret}x&iss={secret}"},
        {"path": f"/callback/{secret}?error={secret}&error_description={secret}"},
        {"path": "/v1/connections", "headers": {"Authorization": f"Bearer {secret}x"}},
        {"path": "/v1/connections", "headers": {"Authorization": f"Basic {secret}", "Cookie": f"a={secret}"}},
        {"method": "POST", "path": token, "content": f'{{"min_ttl": "{secret}"}}', **json},
        {"method": "POST", "path": token, "content": f'{{"min_ttl": "{secret}', **json},
        {"method": "POST", "path": token, "content": secret, **json},
        {"method": "POST", "path": token, "content": secret},
        {"method": "POST", "path": "/v1/connect-sessions", **json,
         "content": f'{{"provider": "{secret}", "subject": "ann", "scopes": ["{secret}"], "extra": "{secret}"}}'},
        {"method": "POST", "path": "/v1/connections", **json,
         "content": f'{{"provider": "practice", "subject": "ann", "credentials": {{"api_key": "{secret}"}}}}'},
        {"method": "POST", "path": f"/v1/connections/{connection_id}/references", **json,
         "content": f'{{"audience": "{secret}"}}'},
        {"method": "POST", "path": "/oauth/token", "content": f"grant_type={secret}&scope={secret}", **form},
        {"method": "POST", "path": "/oauth/token", "content": f"client_id={secret}&client_secret={secret}", **form},
        {"method": "POST", "path": f"/oauth/token?client_secret={secret}", "content": secret, **form},
        {"method": "POST", "path": "/oauth/introspect", "content": f'{{"token": "{secret}"}}'},
        {"method": "POST", "path": "/connect/x", "content": f"decision={secret}", **form},
        {"method": "TRACE", "path": "/oauth/token", "headers": {"Authorization": secret}},
    ]  # fmt: skip


async def _ask(app: ServiceClient, call: dict[str, Any]) -> None:
    options = {name: value for name, value in call.items() if name in {"content", "headers"}}
    if call.get("as_client"):
        await app.call(call.get("method", "GET"), call["path"], **options)
    else:
        await app.http.request(call.get("method", "GET"), call["path"], **options)

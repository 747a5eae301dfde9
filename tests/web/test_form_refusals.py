"""What was typed is refused: at its field or at the top, in words, and never with the secret in it; then once more."""

import re

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.errors import StoreUnavailable
from broker.vault import names
from broker.vault.counters import Counted, Counters
from tests.journey import session_of
from tests.kinds.cases import ALICE_KEY, BOB_KEY, CASES, Case
from tests.web.forms import connect, inputs, send
from tests.world import Person, ServiceClient, parameters_of

WRONG = "pk_nobodys_key_0001"


def whoami_calls(sandbox: httpx2.Client) -> int:
    """How often the provider was asked whose credential it is."""
    return int(sandbox.get("/counters").json()["whoami"])


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_looks_wrong(app: ServiceClient, person: Person, sandbox: httpx2.Client, case: Case) -> None:
    """It is said at its field, also to screen readers; nobody was asked, and no secret stands in the page."""  # K1
    opened = await app.open_session(provider=case.provider)
    page = await send(person, opened["connect_url"], case.malformed)
    assert page.status_code == 422
    assert "Something is missing or wrong" in page.text
    (element,) = [part for part in page.text.split("<") if f'id="{case.fault}"' in part]
    assert 'aria-invalid="true"' in element
    assert f'aria-describedby="{case.fault}-wrong' in element
    assert "autofocus" in element
    assert f'id="{case.fault}-wrong"' in page.text
    assert whoami_calls(sandbox) == 0
    for name, value in case.malformed.items():
        kind, _, shown = inputs(page.text)[f"credentials.{name}"]
        assert shown == ("" if kind == "password" else value)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_the_provider_refuses(app: ServiceClient, person: Person, case: Case) -> None:
    """It is said at the top; what is no secret is kept, secrets are not; then the right one goes through."""  # K1
    opened = await app.open_session(provider=case.provider)
    page = await send(person, opened["connect_url"], case.wrong)
    assert page.status_code == 422
    assert page.headers["cache-control"] == "no-store"
    assert 'role="alert"' in page.text
    assert "does not accept this" in page.text
    assert re.search(r"<title>\s*Practice[\w ]* does not accept this: ", page.text)
    assert page.text.count("autofocus") == 1
    for name, value in case.wrong.items():
        kind, _, shown = inputs(page.text)[f"credentials.{name}"]
        assert shown == ("" if kind == "password" else value)
    assert not [secret for secret in case.canaries if secret in page.text + str(page.headers)]
    sent = await send(person, opened["connect_url"], case.good)
    assert sent.status_code == 303
    assert not [secret for secret in case.canaries if secret in str(sent.headers) + sent.text]
    code = parameters_of(sent.headers["location"])["completion_code"]
    assert (await app.complete(opened["id"], code)).status_code == 200


async def test_a_key_that_may_do_too_little(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """The page names what is missing, in words; a key that may do more goes through."""
    sandbox.post("/control", json={"key_scopes": ["profile"]}).raise_for_status()
    opened = await app.open_session(provider="practice-key")
    page = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    assert page.status_code == 422
    alert = page.text.partition('role="alert"')[2].partition("</section>")[0]
    assert "It works, but it may do too little" in alert
    assert "Read your messages" in alert
    assert "See your name" not in alert
    sandbox.post("/control", json={"key_scopes": None}).raise_for_status()
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 303


async def test_an_input_that_is_left_empty(app: ServiceClient, person: Person) -> None:
    """The person reads the field's name, not the API's."""
    opened = await app.open_session(provider="practice-basic")
    page = await send(person, opened["connect_url"], {"username": "alice@practice.example", "password": ""})
    assert "Password is needed." in page.text
    assert "alice@practice.example" in page.text


async def test_a_malformed_parameter(app: ServiceClient, person: Person) -> None:
    """It is said at its field, and can be mended."""
    aws = next(case for case in CASES if case.provider == "practice-aws")
    opened = await app.open_session(provider="practice-aws")
    page = await send(person, opened["connect_url"], aws.good, parameters={"region": "<b>@evil.example"})
    assert page.status_code == 422
    assert 'id="parameters.region-wrong"' in page.text
    assert "Region does not look right" in page.text
    assert "<b>@" not in page.text
    assert (await send(person, opened["connect_url"], aws.good, parameters={"region": "eu-1"})).status_code == 303


@pytest.mark.parametrize(("fault", "status"), [("status_503", 503), ("cut", 503), ("html", 502), ("status_500", 503)])
async def test_a_provider_that_can_not_be_asked(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, fault: str, status: int
) -> None:
    """The page says that it isn't the person's fault; nothing was kept, and later it goes through."""  # P2
    sandbox.post("/control", json={"api_fault": fault}).raise_for_status()
    opened = await app.open_session(provider="practice-key")
    page = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    assert page.status_code == status
    assert ("retry-after" in page.headers) is (page.status_code == 503)
    assert "It is not your fault" in page.text
    assert ALICE_KEY not in page.text
    sandbox.post("/control", json={"reset": True}).raise_for_status()
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 303


async def test_renewing_with_another_account(app: ServiceClient, person: Person) -> None:
    """The page says so while the right key can still be taken; then the connection goes on under its id."""  # B14
    connection = await connect(app, person, "practice-key", {"api_key": ALICE_KEY})
    opened = await app.open_session(provider="practice-key", connection_id=connection["id"])
    assert "wants to renew" in (await person.broker.get(opened["connect_url"])).text
    page = await send(person, opened["connect_url"], {"api_key": BOB_KEY})
    assert page.status_code == 422
    assert "It works, but for another account" in page.text
    assert "bob@practice.example" not in page.text
    assert (await app.fetch(connection["id"])).json()["generation"] == 1
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    completed = await app.complete(opened["id"], parameters_of(sent.headers["location"])["completion_code"])
    assert completed.json()["connection"]["id"] == connection["id"]
    assert completed.json()["connection"]["generation"] == 2


async def test_renewing_with_another_account_that_is_allowed(app: ServiceClient, person: Person) -> None:
    """``allow_account_change`` takes it."""
    connection = await connect(app, person, "practice-key", {"api_key": ALICE_KEY})
    renewed = await connect(
        app, person, "practice-key", {"api_key": BOB_KEY}, connection_id=connection["id"], allow_account_change=True
    )
    assert (renewed["id"], renewed["account"]["name"]) == (connection["id"], "bob@practice.example")


async def test_renewing_inherits_the_parameters(app: ServiceClient, person: Person) -> None:
    """They are not asked for again."""
    aws = next(case for case in CASES if case.provider == "practice-aws")
    first = await connect(app, person, "practice-aws", aws.good, parameters={"region": "practice-7"})
    opened = await app.open_session(provider="practice-aws", connection_id=first["id"])
    assert "parameters.region" not in inputs((await person.broker.get(opened["connect_url"])).text)
    sent = await send(person, opened["connect_url"], aws.good)
    completed = await app.complete(opened["id"], parameters_of(sent.headers["location"])["completion_code"])
    assert completed.json()["connection"]["parameters"] == {"region": "practice-7"}


async def test_trying_keys_is_limited_by_session(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """Ten refused ones in ten minutes; then the provider is not asked, not even about the right one."""  # D1
    opened = await app.open_session(provider="practice-key")
    for number in range(10):
        assert (await send(person, opened["connect_url"], {"api_key": f"{WRONG}{number}"})).status_code == 422
    refused = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 600
    assert "Too many tries" in refused.text
    assert whoami_calls(sandbox) == 10
    # In another session of the same person there is room.
    other = await app.open_session(provider="practice-key")
    assert (await send(person, other["connect_url"], {"api_key": ALICE_KEY})).status_code == 303


async def test_trying_keys_is_limited_by_address(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """Thirty refused ones in five minutes, in however many sessions."""  # D1
    for number in range(30):
        if number % 10 == 0:
            opened = await app.open_session(provider="practice-key")
        assert (await send(person, opened["connect_url"], {"api_key": f"{WRONG}{number}"})).status_code == 422
    opened = await app.open_session(provider="practice-key")
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 429
    assert whoami_calls(sandbox) == 30


async def test_what_nobody_was_asked_about_is_not_counted(
    app: ServiceClient, person: Person, raw_store: redis.Redis
) -> None:
    """Nor is what passed: a whole office may connect at once."""
    opened = await app.open_session(provider="practice-key")
    for _ in range(12):
        assert (await send(person, opened["connect_url"], {"api_key": "no key"})).status_code == 422
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 303
    assert {int(raw_store.get(key) or 0) for key in raw_store.keys("broker:count:credentials*")} <= {0}


async def test_what_can_not_be_counted_is_not_tried(
    app: ServiceClient, heart: Heart, person: Person, sandbox: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a store that can't count would let anybody try as many as they like."""  # R2

    async def down(*_: object) -> Counted:
        raise StoreUnavailable("down")

    opened = await app.open_session(provider="practice-key")
    with monkeypatch.context() as patch:
        patch.setattr(Counters, "count", down)
        assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 503
    assert whoami_calls(sandbox) == 0
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 303


async def test_what_the_provider_takes_back_before_the_app_completes(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, raw_store: redis.Redis
) -> None:
    """The app is told that the credential is no good, no connection is made, and nothing of it is kept."""
    opened = await app.open_session(provider="practice-key")
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    sandbox.post("/control", json={"revoked_keys": [ALICE_KEY]}).raise_for_status()
    completed = await app.complete(opened["id"], parameters_of(sent.headers["location"])["completion_code"])
    assert (completed.status_code, completed.json()["code"]) == (422, "invalid_credentials")
    assert completed.json()["step"] == "live_test"
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "invalid_credentials")
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []
    assert not raw_store.exists(names.typed(opened["id"]))


async def test_a_provider_that_is_down_when_the_app_completes(
    app: ServiceClient, person: Person, sandbox: httpx2.Client
) -> None:
    """Nothing is lost: what was typed waits, and the app completes again."""
    opened = await app.open_session(provider="practice-key")
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    code = parameters_of(sent.headers["location"])["completion_code"]
    sandbox.post("/control", json={"api_fault": "status_503", "faults_left": 1}).raise_for_status()
    assert (await app.complete(opened["id"], code)).status_code == 503
    assert (await session_of(app, opened["id"]))["status"] == "awaiting_completion"
    assert (await app.complete(opened["id"], code)).status_code == 200

"""Connecting by a form: what is asked, and the ways in which what was typed becomes a connection."""

import re

import httpx2
import pytest
import redis

from broker.models.session import SessionStatus
from broker.vault import names
from tests.journey import MakeClient, session_of, snapshot
from tests.kinds.cases import ALICE, ALICE_KEY, BOB_KEY, CASES, Case, made_by
from tests.web.forms import connect, inputs, send
from tests.world import RETURN_URL, Person, ServiceClient, parameters_of


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_every_kind_is_handed_in_by_a_person(app: ServiceClient, person: Person, case: Case) -> None:
    """Form, app, completion; the connection knows its account, and only a kind that has a token gives one out."""
    connection = await connect(app, person, case.provider, case.good)
    assert connection["account"] == ALICE
    fetched = await app.fetch(connection["id"])
    if case.token is None:
        assert (fetched.status_code, fetched.json()["code"]) == (409, "conflict")
    else:
        assert fetched.json()["access_token"] == case.good[case.token]


async def test_a_key_file_is_pasted(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """A service account's, as one multiline field; the provider issues tokens for it."""
    key_file = sandbox.post("/control/keys", json={"kind": "google_service_account"}).raise_for_status().text
    connection = await connect(app, person, "practice-service-account", {"key_file": key_file.replace("\n", "\r\n")})
    assert connection["credential_type"] == "google_service_account"
    assert (await app.fetch(connection["id"])).json()["access_token"]


async def test_a_private_key_is_pasted(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """With the line ends that browsers put into a form (HTML §4.10.21.4)."""
    made = made_by(sandbox, "github_app")
    typed = {name: str(made[name]).replace("\n", "\r\n") for name in ("client_id", "private_key", "installation_id")}
    connection = await connect(app, person, "practice-own-app", typed)
    assert connection["account"] == ALICE


async def test_nothing_to_type(app: ServiceClient, person: Person) -> None:
    """A provider that asks for nothing is connected by the button alone."""
    opened = await app.open_session(provider="practice-none")
    page = await person.broker.get(opened["connect_url"])
    assert inputs(page.text) == {}
    assert "there is nothing to enter" in page.text
    connection = await connect(app, person, "practice-none", {})
    assert (connection["credential_type"], connection["account"]) == ("none", None)


async def test_the_page_says_who_asks_for_what_and_where_to_find_it(app: ServiceClient, person: Person) -> None:
    """App, person, scopes in words, the provider's own words and its page, and each field with its label and help."""
    opened = await app.open_session(provider="practice-key", subject_name="Ann Lee")
    page = await person.broker.get(opened["connect_url"])
    text = " ".join(page.text.split())
    for shown in ("wants to connect to your", "Ann Lee", "app.example", "Read your messages", "it starts with pk_"):
        assert shown in text
    assert "Practice, Settings, API keys: make one that can read messages." in text
    assert re.search(r'href="http://127.0.0.1:\d+/device" target="_blank" rel="noopener noreferrer"', text)
    assert inputs(page.text) == {"credentials.api_key": ("password", "new-password", "")}


async def test_opening_the_page_changes_nothing(app: ServiceClient, person: Person, raw_store: redis.Redis) -> None:
    """However often, by whomever: mail scanners do that, too. The page is kept nowhere and framed by nobody."""  # B13
    opened = await app.open_session(provider="practice-key")
    before = snapshot(raw_store)
    for _ in range(3):
        page = await person.broker.get(opened["connect_url"])
    assert page.status_code == 200
    assert snapshot(raw_store) == before
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_the_statuses_of_a_session(
    app: ServiceClient, person: Person, raw_store: redis.Redis, sandbox: httpx2.Client
) -> None:
    """pending → authorizing → awaiting_completion → completed, as at a provider; nothing is connected before."""

    async def status() -> str:
        return str((await session_of(app, opened["id"]))["status"])

    opened = await app.open_session(provider="practice-key", state="s")
    await person.broker.get(opened["connect_url"])
    assert await status() == SessionStatus.PENDING
    assert (await send(person, opened["connect_url"], {"api_key": "pk_nobodys_key_1"})).status_code == 422
    assert await status() == SessionStatus.AUTHORIZING
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    assert await status() == SessionStatus.AWAITING_COMPLETION
    brought = parameters_of(sent.headers["location"])
    assert sent.headers["location"].startswith(f"{RETURN_URL}?")
    assert set(brought) == {"connect_session", "completion_code", "state"}
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []
    assert 0 < raw_store.pttl(names.typed(opened["id"])) <= 300_000
    assert (await app.complete(opened["id"], brought["completion_code"])).status_code == 200
    assert await status() == SessionStatus.COMPLETED
    assert not raw_store.exists(names.typed(opened["id"]))
    again = await app.complete(opened["id"], brought["completion_code"])
    assert again.json()["connection"]["id"] == (await session_of(app, opened["id"]))["connection_id"]
    assert len((await app.call("GET", "/v1/connections")).json()["items"]) == 1


async def test_completion_by_a_code_that_the_person_carries(make_client: MakeClient, person: Person) -> None:
    """The form leads to a page with the short code, which the same browser may load again."""
    app = await make_client(return_urls=())
    opened = await app.open_session(provider="practice-key")
    page = await send(person, opened["connect_url"], {"api_key": ALICE_KEY}, follow_redirects=True)
    assert page.status_code == 200
    (code,) = re.findall(r"<code>([B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4})</code>", page.text)
    assert code in (await person.broker.get(page.url)).text
    completed = await app.complete(opened["id"], code)
    assert completed.json()["connection"]["account"] == ALICE


async def test_completion_by_the_browser(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """For clients registered for it the connection is made at once; the provider is asked whose key it is once."""
    opened = await app.open_session(provider="practice-key", completion="browser", state="s")
    sent = await send(person, opened["connect_url"], {"api_key": BOB_KEY})
    assert parameters_of(sent.headers["location"]) == {
        "connect_session": opened["id"],
        "status": "connected",
        "state": "s",
    }
    session = await session_of(app, opened["id"])
    assert (await app.fetch(session["connection_id"])).json()["access_token"] == BOB_KEY
    assert sandbox.get("/counters").json()["whoami"] == 1


async def test_a_parameter_that_the_app_left_open(app: ServiceClient, person: Person) -> None:
    """It is asked for, with its default in place; one that the app fixed is not, and can't be changed by a form."""
    aws = next(case for case in CASES if case.provider == "practice-aws")
    left_open = await app.open_session(provider="practice-aws")
    page = await person.broker.get(left_open["connect_url"])
    assert inputs(page.text)["parameters.region"] == ("text", "off", "practice-1")
    sent = await send(person, left_open["connect_url"], aws.good, parameters={"region": "practice-2"})
    completed = await app.complete(left_open["id"], parameters_of(sent.headers["location"])["completion_code"])
    assert completed.json()["connection"]["parameters"] == {"region": "practice-2"}

    fixed = await app.open_session(provider="practice-aws", parameters={"region": "practice-3"})
    page = await person.broker.get(fixed["connect_url"])
    assert "parameters.region" not in inputs(page.text)
    assert re.search(r"<dt><bdi>Region</bdi></dt>\s*<dd><bdi>practice-3</bdi></dd>", page.text)
    sent = await send(person, fixed["connect_url"], aws.good, parameters={"region": "practice-4"})
    completed = await app.complete(fixed["id"], parameters_of(sent.headers["location"])["completion_code"])
    assert completed.json()["connection"]["parameters"] == {"region": "practice-3"}


async def test_cancelling(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """Whatever stands in the form: the app hears that the person said no, and nobody was asked anything."""
    opened = await app.open_session(provider="practice-key", state="s")
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY}, decision="cancel")
    assert parameters_of(sent.headers["location"]) == {
        "connect_session": opened["id"],
        "error": "access_denied",
        "state": "s",
    }
    assert (await session_of(app, opened["id"]))["error"] == "access_denied"
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 409
    assert sandbox.get("/counters").json()["whoami"] == 0

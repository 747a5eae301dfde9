"""Tests of the three completions as browser, app and store see them: who confirms, when, and what is kept meanwhile."""

import re

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from broker.vault.sessions import Sessions
from tests.journey import NOTHING, MakeClient, everything_in, exchanges, session_of
from tests.world import RETURN_URL, Person, ServiceClient, parameters_of


async def test_completion_by_the_app(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """The browser brings the app a completion code; the provider's code is redeemed only when the app completes."""
    opened = await app.open_session(state="of-the-app")
    returned = await person.arrive(await person.approve(opened["connect_url"]))
    assert returned.headers["location"].startswith(f"{RETURN_URL}?")
    assert returned.headers["referrer-policy"] == "no-referrer"
    brought = parameters_of(returned.headers["location"])
    assert set(brought) == {"connect_session", "completion_code", "state"}
    assert (brought["connect_session"], brought["state"]) == (opened["id"], "of-the-app")
    assert (await session_of(app, opened["id"]))["status"] == "awaiting_completion"
    assert exchanges(sandbox) == NOTHING

    completed = await app.complete(opened["id"], brought["completion_code"])
    assert completed.status_code == 200
    assert completed.headers["cache-control"] == "no-store"
    body = completed.json()
    assert set(body) == {"connection", "reference", "expires_in"}
    assert body["connection"]["account"] == {"id": "usr_1001", "name": "alice@practice.example"}
    assert exchanges(sandbox) == (1, 0)
    session = await session_of(app, opened["id"])
    assert (session["status"], session["connection_id"]) == ("completed", body["connection"]["id"])
    redeemed = await app.redeem(body["reference"])
    assert redeemed.json()["connection_id"] == body["connection"]["id"]
    assert (await app.redeem(body["reference"])).status_code == 400


async def test_completion_by_a_code_that_the_person_carries(
    make_client: MakeClient, person: Person, sandbox: httpx2.Client
) -> None:
    """A client without return addresses gets it by default: a short code on the page, in any case and spelling."""
    app = await make_client(return_urls=())
    opened = await app.open_session()
    page = await person.arrive(await person.approve(opened["connect_url"]), follow_redirects=True)
    assert page.status_code == 200
    (code,) = re.findall(r"<code>([B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4})</code>", page.text)
    assert "works for 5 minutes" in page.text
    assert exchanges(sandbox) == NOTHING
    completed = await app.complete(opened["id"], code.lower().replace("-", " "))
    assert completed.status_code == 200
    assert exchanges(sandbox) == (1, 0)


async def test_completion_by_the_browser(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """For clients registered for it, the browser that pressed the button is the proof; the app only hears of it."""
    opened = await app.open_session(completion="browser", state="s")
    callback = await person.approve(opened["connect_url"])
    assert exchanges(sandbox) == NOTHING
    returned = await person.arrive(callback)
    assert parameters_of(returned.headers["location"]) == {
        "connect_session": opened["id"],
        "status": "connected",
        "state": "s",
    }
    session = await session_of(app, opened["id"])
    assert session["status"] == "completed"
    assert (await app.call("GET", f"/v1/connections/{session['connection_id']}")).json()["subject"] == "ann"
    assert exchanges(sandbox) == (1, 0)


async def test_completion_by_the_browser_is_a_registration(make_client: MakeClient, sandbox: httpx2.Client) -> None:
    """A client that is not registered for it can't ask for it."""
    app = await make_client(completions=())
    body = {"provider": "practice", "subject": "ann", "completion": "browser"}
    assert (await app.call("POST", "/v1/connect-sessions", body)).status_code == 403


@pytest.mark.parametrize("completion", ["app", "code"])
async def test_a_victim_who_approves_an_attackers_session_is_safe(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, completion: str
) -> None:
    """Lured to the attacker's link, the victim approves; their app says who is signed in, and nothing is redeemed."""
    # B5
    opened = await app.open_session(subject="attacker", completion=completion)
    victim = Person(http)
    callback = await victim.approve(opened["connect_url"])
    arrived = await victim.arrive(callback, follow_redirects=completion == "code")
    found = re.findall(r"completion_code=(\w+)|<code>([A-Z]{4}-[A-Z]{4})</code>", str(arrived.headers) + arrived.text)
    code = "".join(found[0])
    refused = await app.complete(opened["id"], code, subject="victim")
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "subject_mismatch"
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"], session["connection_id"]) == ("failed", "subject_mismatch", None)

    # The attacker, knowing the code or not, comes too late.
    assert (await app.complete(opened["id"], code, subject="attacker")).status_code == 409
    assert exchanges(sandbox) == NOTHING
    counted = sandbox.get("/counters").json()
    assert (counted["whoami"], counted["revoke"]) == (0, 0)
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []


async def test_an_injected_code_does_not_fit(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """A code stolen from another browser, brought into the thief's own session, fails on the verifier (RFC 7636)."""
    # B8
    victims, thiefs = await app.open_session(subject="victim"), await app.open_session(subject="thief")
    victim, thief = Person(http), Person(http)
    stolen = parameters_of(await victim.approve(victims["connect_url"]))["code"]
    own = await thief.approve(thiefs["connect_url"])
    brought = await thief.arrive(own.replace(parameters_of(own)["code"], stolen))
    completed = await app.complete(
        thiefs["id"], parameters_of(brought.headers["location"])["completion_code"], subject="thief"
    )
    assert completed.status_code == 502
    assert completed.json()["code"] == "provider_error"
    assert stolen not in completed.text
    assert exchanges(sandbox) == (0, 1)
    session = await session_of(app, thiefs["id"])
    assert (session["status"], session["error"]) == ("failed", "provider_error")
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []


async def test_another_client_can_not_complete(
    app: ServiceClient, make_client: MakeClient, person: Person, sandbox: httpx2.Client
) -> None:
    """To every client but its own a session does not exist, of whichever tenant; the code in hand changes nothing."""
    # S5
    opened = await app.open_session()
    code = (await person.connect(opened["connect_url"]))["completion_code"]
    for other in (await make_client("sibling"), await make_client("foreign", tenant="other")):
        assert (await other.complete(opened["id"], code)).status_code == 404
        assert (await other.call("GET", f"/v1/connect-sessions/{opened['id']}")).status_code == 404
    assert exchanges(sandbox) == NOTHING
    assert (await app.complete(opened["id"], code)).status_code == 200


async def test_completing_takes_the_scope_connect(
    app: ServiceClient, make_client: MakeClient, person: Person, sandbox: httpx2.Client
) -> None:
    """Without it neither opening nor completing works; a client that may not redeem gets no reference."""
    reader = await make_client("reader", scopes=("connections:read",))
    body = {"provider": "practice", "subject": "ann"}
    assert (await reader.call("POST", "/v1/connect-sessions", body)).json()["code"] == "insufficient_scope"
    assert (await reader.complete((await app.open_session())["id"], "x")).status_code == 403
    frugal = await make_client("frugal", scopes=("connect",))
    opened = await frugal.open_session()
    code = (await person.connect(opened["connect_url"]))["completion_code"]
    completed = (await frugal.complete(opened["id"], code)).json()
    assert set(completed) == {"connection"}


@pytest.mark.parametrize("completion", ["app", "code", "browser"])
async def test_no_secret_of_the_way_stands_in_the_store(
    app: ServiceClient, heart: Heart, person: Person, sandbox: httpx2.Client, raw_store: redis.Redis, completion: str
) -> None:
    """Link, state, verifier, cookie, code, completion code and tokens: nothing lies there in clear, at any step."""
    # K1
    opened = await app.open_session(completion=completion)
    secrets = [opened["connect_url"].rpartition("_")[2]]

    def assert_clear_of_secrets() -> None:
        stored = everything_in(raw_store)
        assert opened["id"].encode() in stored
        assert not [secret for secret in secrets if secret.encode() in stored]

    assert_clear_of_secrets()
    left = (await person.press(opened["connect_url"])).headers["location"]
    (cookie,) = person.broker.cookies.values()
    session = await heart.opening.read(opened["id"])
    assert session is not None
    verifier = (await Sessions(heart.store, heart.keyring).open(session))["verifier"]
    assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)  # RFC 7636 §4.1
    secrets += [verifier, parameters_of(left)["state"].rpartition("_")[2], cookie, cookie.partition(".")[0]]
    assert_clear_of_secrets()
    callback = await person.consent(left)
    secrets.append(parameters_of(callback)["code"])
    arrived = await person.arrive(callback, follow_redirects=completion == "code")
    secrets += [kept.partition(".")[0] for kept in person.broker.cookies.values()]
    found = re.findall(r"completion_code=(\w+)|<code>([A-Z]{4}-[A-Z]{4})</code>", str(arrived.headers) + arrived.text)
    codes = ["".join(groups) for groups in found]
    secrets += [*codes, *(code.replace("-", "") for code in codes)]
    assert_clear_of_secrets()
    for code in codes:
        assert (await app.complete(opened["id"], code)).status_code == 200
    connection_id = (await session_of(app, opened["id"]))["connection_id"]
    secrets.append((await app.fetch(connection_id)).json()["access_token"])
    assert_clear_of_secrets()

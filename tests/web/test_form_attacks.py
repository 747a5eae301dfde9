"""The form in wrong hands, twice at once, too late; and where what was typed must not be seen."""

import asyncio

import httpx2
import pytest
import redis

from broker.vault import names
from tests.journey import everything_in, session_of
from tests.kinds.cases import ALICE_KEY, BOB_KEY, CASES, Case
from tests.web.forms import send
from tests.web.test_form_refusals import whoami_calls
from tests.world import FakeClock, Person, ServiceClient, parameters_of


async def test_another_browser(app: ServiceClient, person: Person, http: httpx2.AsyncClient) -> None:
    """Once a browser has sent the form, no other one can, not even with the right key."""  # B4
    opened = await app.open_session(provider="practice-key")
    other = Person(http)
    await other.broker.get(opened["connect_url"])
    assert (await send(person, opened["connect_url"], {"api_key": "pk_nobodys_key_1"})).status_code == 422
    assert (await other.broker.get(opened["connect_url"])).status_code == 403
    refused = await send(other, opened["connect_url"], {"api_key": BOB_KEY})
    assert refused.status_code == 403
    assert (await send(other, opened["connect_url"], {}, decision="cancel")).status_code == 403
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 303
    late = await send(other, opened["connect_url"], {"api_key": ALICE_KEY})
    assert late.status_code == 409
    assert "completion_code" not in str(late.headers) + late.text


async def test_another_site(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """A form that another site's page sends is refused before anything of it is read."""  # B13
    opened = await app.open_session(provider="practice-key")
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        refused = await send(person, opened["connect_url"], {"api_key": ALICE_KEY}, headers=headers)
        assert refused.status_code == 403
    assert (await session_of(app, opened["id"]))["status"] == "pending"
    assert whoami_calls(sandbox) == 0


@pytest.mark.parametrize("completion", ["app", "code"])
async def test_a_victim_who_fills_in_an_attackers_form_is_safe(
    app: ServiceClient, person: Person, raw_store: redis.Redis, completion: str
) -> None:
    """Their app says who is signed in: nothing becomes a connection, and what they typed is gone at once."""  # B5
    opened = await app.open_session(provider="practice-key", subject="attacker", completion=completion)
    page = await send(person, opened["connect_url"], {"api_key": ALICE_KEY}, follow_redirects=completion == "code")
    code = (
        parameters_of(page.headers["location"])["completion_code"]
        if completion == "app"
        else page.text.partition("<code>")[2].partition("<")[0]
    )
    assert raw_store.exists(names.typed(opened["id"]))
    refused = await app.complete(opened["id"], code, subject="victim")
    assert (refused.status_code, refused.json()["code"]) == (403, "subject_mismatch")
    assert not raw_store.exists(names.typed(opened["id"]))
    assert (await app.complete(opened["id"], code, subject="attacker")).status_code == 409
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []


@pytest.mark.parametrize("completion", ["app", "browser"])
async def test_a_double_click(app: ServiceClient, person: Person, completion: str) -> None:
    """Many forms of one browser at once: all lead to the same place, and one connection is made."""  # B3
    opened = await app.open_session(provider="practice-key", completion=completion)
    await person.broker.get(opened["connect_url"])
    sent = await asyncio.gather(*(send(person, opened["connect_url"], {"api_key": ALICE_KEY}) for _ in range(6)))
    assert {answer.status_code for answer in sent} == {303}
    (location,) = {answer.headers["location"] for answer in sent}
    if completion == "app":
        assert (await app.complete(opened["id"], parameters_of(location)["completion_code"])).status_code == 200
    listed = (await app.call("GET", "/v1/connections")).json()["items"]
    assert [each["id"] for each in listed] == [(await session_of(app, opened["id"]))["connection_id"]]


@pytest.mark.parametrize("completion", ["app", "browser"])
async def test_a_double_click_at_two_processes(
    app: ServiceClient, person: Person, replica: httpx2.AsyncClient, completion: str
) -> None:
    """The clicks reach different replicas: the answers are the same all the same, and one connection is made."""  # B3
    opened = await app.open_session(provider="practice-key", completion=completion)
    await person.broker.get(opened["connect_url"])
    hand = Person(replica)
    hand.broker.cookies = person.broker.cookies
    sent = await asyncio.gather(
        *(send(each, opened["connect_url"], {"api_key": ALICE_KEY}) for each in (person, hand, person, hand))
    )
    assert {answer.status_code for answer in sent} == {303}
    (location,) = {answer.headers["location"] for answer in sent}
    if completion == "app":
        assert (await app.complete(opened["id"], parameters_of(location)["completion_code"])).status_code == 200
    assert len((await app.call("GET", "/v1/connections")).json()["items"]) == 1


async def test_two_keys_at_once(app: ServiceClient, person: Person) -> None:
    """Two windows of one browser send different keys: one is taken, and the other is told that it wasn't."""
    opened = await app.open_session(provider="practice-key")
    await person.broker.get(opened["connect_url"])
    sent = await asyncio.gather(
        *(send(person, opened["connect_url"], {"api_key": key}) for key in (ALICE_KEY, BOB_KEY))
    )
    assert sorted(answer.status_code for answer in sent) == [303, 409]
    (taken,) = [answer for answer in sent if answer.status_code == 303]
    completed = await app.complete(opened["id"], parameters_of(taken.headers["location"])["completion_code"])
    key = (await app.fetch(completed.json()["connection"]["id"])).json()["access_token"]
    assert key == (ALICE_KEY, BOB_KEY)[sent.index(taken)]


async def test_the_back_button(app: ServiceClient, person: Person, sandbox: httpx2.Client) -> None:
    """Once the app has the browser again, the form is spent: nothing is asked, nothing is made."""
    opened = await app.open_session(provider="practice-key")
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    for _ in range(2):
        assert (await person.broker.get(opened["connect_url"])).status_code == 409
        assert (await send(person, opened["connect_url"], {"api_key": BOB_KEY})).status_code == 409
        await app.complete(opened["id"], parameters_of(sent.headers["location"])["completion_code"])
    assert len((await app.call("GET", "/v1/connections")).json()["items"]) == 1


@pytest.mark.parametrize("completion", ["app", "browser"])
async def test_who_lost_the_answer_sends_again(app: ServiceClient, person: Person, completion: str) -> None:
    """With the cookie that they still have: they are sent to the same place, before and after it is completed."""  # R3
    opened = await app.open_session(provider="practice-key", completion=completion)
    await person.broker.get(opened["connect_url"])
    cookies = dict(person.broker.cookies)
    places = []
    for number in range(3):
        for name, value in cookies.items():
            person.broker.cookies.set(name, value)
        sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
        places.append(sent.headers["location"])
        if completion == "app" and number:
            assert (await app.complete(opened["id"], parameters_of(places[0])["completion_code"])).status_code == 200
    assert len(set(places)) == 1
    assert len((await app.call("GET", "/v1/connections")).json()["items"]) == 1


async def test_what_was_typed_could_not_be_kept_at_first(
    app: ServiceClient, person: Person, raw_store: redis.Redis
) -> None:
    """The session went on and the rest was lost: the form, sent again by the same browser, makes up for it."""  # R3
    opened = await app.open_session(provider="practice-key")
    await person.broker.get(opened["connect_url"])
    cookies = dict(person.broker.cookies)
    await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    raw_store.delete(names.typed(opened["id"]))
    for name, value in cookies.items():
        person.broker.cookies.set(name, value)
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    completed = await app.complete(opened["id"], parameters_of(sent.headers["location"])["completion_code"])
    assert completed.json()["connection"]["account"]["name"] == "alice@practice.example"


async def test_an_expired_link(app: ServiceClient, person: Person, clock: FakeClock, sandbox: httpx2.Client) -> None:
    """Neither opens nor takes anything; nor ten minutes after the last try."""
    opened = await app.open_session(provider="practice-key")
    assert (await send(person, opened["connect_url"], {"api_key": "pk_nobodys_key_1"})).status_code == 422
    clock.advance(seconds=601)
    assert (await person.broker.get(opened["connect_url"])).status_code == 404
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 404
    assert whoami_calls(sandbox) == 1


async def test_what_was_typed_is_gone_with_its_time(
    app: ServiceClient, person: Person, clock: FakeClock, raw_store: redis.Redis
) -> None:
    """The store forgets it by itself, while the app can still read that the session expired; then nothing completes."""
    opened = await app.open_session(provider="practice-key")
    await person.broker.get(opened["connect_url"])
    cookies = dict(person.broker.cookies)
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    assert 0 < raw_store.pttl(names.typed(opened["id"])) <= 300_000
    clock.advance(seconds=301)
    raw_store.delete(names.typed(opened["id"]))
    for name, value in cookies.items():
        person.broker.cookies.set(name, value)
    assert (await send(person, opened["connect_url"], {"api_key": ALICE_KEY})).status_code == 404
    assert not raw_store.exists(names.typed(opened["id"]))
    assert (await session_of(app, opened["id"]))["status"] == "expired"
    code = parameters_of(sent.headers["location"])["completion_code"]
    assert (await app.complete(opened["id"], code)).status_code == 404


async def test_a_session_whose_typed_part_is_lost(app: ServiceClient, person: Person, raw_store: redis.Redis) -> None:
    """Nothing is made of nothing."""
    opened = await app.open_session(provider="practice-key")
    sent = await send(person, opened["connect_url"], {"api_key": ALICE_KEY})
    raw_store.delete(names.typed(opened["id"]))
    code = parameters_of(sent.headers["location"])["completion_code"]
    assert (await app.complete(opened["id"], code)).status_code == 409
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []


@pytest.mark.parametrize("completion", ["app", "code", "browser"])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_no_secret_stands_anywhere(
    app: ServiceClient,
    person: Person,
    raw_store: redis.Redis,
    capsys: pytest.CaptureFixture[str],
    case: Case,
    completion: str,
) -> None:
    """Typed wrong, malformed and right: no step leaves it in the store, in logs, pages or addresses."""  # K1
    said = []
    opened = await app.open_session(provider=case.provider, completion=completion)
    for typed in (case.malformed, case.wrong, case.good):
        answer = await send(person, opened["connect_url"], typed)
        said.append(f"{answer.headers} {answer.text}")
        stored = everything_in(raw_store)
        assert opened["id"].encode() in stored
        assert not [secret for secret in case.canaries if secret.encode() in stored]
    assert answer.status_code == 303
    if completion == "app":
        completed = await app.complete(opened["id"], parameters_of(answer.headers["location"])["completion_code"])
        said.append(completed.text)
        assert not [secret for secret in case.canaries if secret.encode() in everything_in(raw_store)]
    said += [*capsys.readouterr()]
    assert not [secret for secret in case.canaries if secret in "".join(said)]

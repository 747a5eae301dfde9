"""Each shipped entry connects to its provider as ``quirks.yaml`` says that one behaves: from data alone.

The provider is strict: an entry with a wrong address, separator, parameter, header, encoding, way to authenticate,
or pointer is refused somewhere on the way, and the assertion shows what the provider had against it.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from tests.templates.played import Played
from tests.templates.quirks import described, known, names
from tests.world import parameters_of

Play = Callable[[str], Played]

ENTRIES = names()
OAUTH = [name for name in ENTRIES if name in known() and not known()[name].handed_in]
REFRESHING = [name for name in ENTRIES if name in known() and known()[name].refresh]
REVOKING = [name for name in OAUTH if known()[name].part("revoke")]
HANDED_IN = [name for name in ENTRIES if name in known() and known()[name].handed_in]


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_is_described(name: str) -> None:
    """Whoever adds an entry says how its provider behaves, and where that is written."""
    assert described(name).description["account"]


def test_nothing_is_described_that_is_not_shipped() -> None:
    """What was taken out or renamed leaves nothing behind."""
    assert sorted(known()) == sorted(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
async def test_it_connects_and_opens_the_api(play: Play, name: str) -> None:
    """Account and scopes are right; token, authorization and proxy reach the provider's API."""  # G2
    played = play(name)
    connection = await played.made()
    quirks = played.quirks
    if quirks.part("whoami"):
        assert connection["account"] == quirks.account, played.seen()
    if quirks.granted is not None:
        assert set(connection["scopes"]) == set(quirks.granted)
    if name in OAUTH:
        # Also those that the provider never lists.
        assert set(connection["scopes"]) == set(played.scopes)
        assert connection["consents"][0]["missing_scopes"] == []
        assert [set(scopes) for scopes in played.seen()["granted"]] == [set(played.scopes)]
    if quirks.calls:
        await reaches_the_api(played, connection)
    assert played.seen()["refusals"] == []


async def reaches_the_api(played: Played, connection: dict[str, Any]) -> None:
    """By the proxy, and with what the broker says to put on a request."""
    path, api = played.quirks.calls, played.quirks.part("api")
    through = await played.app.call("GET", f"/proxy/{connection['id']}/{path}")
    assert through.status_code == 200, (through.text, played.seen()["refusals"])
    url = played.at(through.json()["address"])
    asked = {"method": "GET", "url": url}
    told = (await played.app.call("POST", f"/v1/connections/{connection['id']}/authorization", asked)).json()
    headers = {name: value or "any" for name, value in api.get("headers", {}).items()} | told["headers"]
    assert played.sandbox.get(url, headers=headers, params=told["query"]).status_code == 200, played.seen()


@pytest.mark.parametrize("name", OAUTH)
async def test_what_is_asked_for_by_default_tells_whose_account_it_is(play: Play, name: str) -> None:
    """Whoever names no scopes gets a connection that can be tested."""
    played = play(name)
    connection = await played.connected(by_default=True)
    assert connection["account"] == played.quirks.account, played.seen()
    assert [set(scopes) for scopes in played.seen()["granted"]] == [set(played.provider.default_scopes)]


@pytest.mark.parametrize("name", REFRESHING)
async def test_it_is_refreshed_again_and_again(play: Play, name: str) -> None:
    """The new refresh token is kept where there is one, the old one where it stays."""  # P10
    played = play(name)
    connection = await played.made()
    before = connection["generation"]
    tokens = set()
    for _ in range(3):
        refreshed = await played.refresh(connection)
        assert refreshed.status_code == 200, (refreshed.text, played.seen()["refusals"])
        tokens.add((await played.app.fetch(connection["id"])).json()["access_token"])
    shown = await played.shown(connection)
    assert (len(tokens), shown["generation"], shown["status"]) == (3, before + 3, "active")
    assert set(shown["scopes"]) == set(played.scopes)
    assert played.seen()["refusals"] == []


@pytest.mark.parametrize("name", REFRESHING)
def test_the_entry_is_at_least_as_careful_as_its_provider_is_strict(play: Play, name: str) -> None:
    """A refresh token is never sent twice where the provider takes that amiss."""  # P10
    played = play(name)
    own, its = played.provider.refresh, played.quirks.refresh or {}
    assert patience(own.rotation, own.grace) <= patience(its["rotation"], its.get("grace", 0))


def patience(rotation: str, grace: float) -> float:
    """How many seconds after its first use a refresh token may be used again; ten years are for ever."""
    return {"none": 315_360_000, "grace": grace}.get(rotation, 0)


@pytest.mark.parametrize("name", REFRESHING)
async def test_a_dead_refresh_token_needs_the_person(play: Play, name: str) -> None:
    """In whatever words and with whatever status the provider says so."""  # P3
    played = play(name)
    connection = await played.made()
    played.order(end_grants=True)
    refused = await played.refresh(connection)
    assert (refused.status_code, refused.json()["code"]) == (409, "reauth_required"), refused.text
    shown = await played.shown(connection)
    assert (shown["status"], shown["health"]["last_error"]["code"]) == ("reauth_required", "revoked_at_provider")


@pytest.mark.parametrize("name", OAUTH)
async def test_a_person_who_says_no_is_understood(play: Play, name: str) -> None:
    """The app hears ``access_denied``, and no code is brought to the provider."""
    played = play(name)
    opened = await played.opened()
    arrived = await played.person.arrive(await played.approve(opened, "deny"))
    assert parameters_of(arrived.headers["location"])["error"] == "access_denied"
    assert not any(asked.startswith("token") for asked in played.seen()["asked"])


@pytest.mark.parametrize("name", OAUTH)
async def test_a_code_that_is_refused_connects_nothing(play: Play, name: str) -> None:
    """Also where the provider says so with status 200; what it said is in the session."""
    played = play(name)
    opened = await played.opened()
    arrived = await played.person.arrive(with_query(await played.approve(opened), code="not-a-code"))
    returned = parameters_of(arrived.headers["location"])
    refused = await played.app.complete(opened["id"], returned["completion_code"])
    assert refused.status_code == 502, refused.text
    session = (await played.app.call("GET", f"/v1/connect-sessions/{opened['id']}")).json()
    assert (session["status"], session["error"]) == ("failed", "provider_error"), session
    refusals = played.quirks.part("token").get("refusals", {})
    words = refusals.get("invalid_code", refusals.get("*", {})).get("body", {"error": "invalid_grant"})
    assert any(word in session["error_detail"] for word in words.values() if isinstance(word, str)), session


def with_query(address: str, **changes: str) -> str:
    """``address`` with other query parameters."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), **changes})))


@pytest.mark.parametrize("name", REVOKING)
async def test_disconnecting_takes_the_token_back(play: Play, name: str) -> None:
    """The provider was asked once, the way it wants, and the token is dead there."""
    played = play(name)
    connection = await played.made()
    token = (await played.app.fetch(connection["id"])).json()["access_token"]
    ended = await played.app.call("DELETE", f"/v1/connections/{connection['id']}")
    assert ended.json()["upstream"]["outcome"] == "revoked", (ended.text, played.seen()["refusals"])
    seen, rule = played.seen(), played.quirks.part("revoke")
    assert (seen["asked"]["revoke"], len(seen["revoked"]), seen["refusals"]) == (1, 1, [])
    if rule.get("ends") != "token" or seen["revoked"] == ["access_token"]:
        assert is_dead(played, token)


def is_dead(played: Played, token: str) -> bool:
    """Whether the provider refuses an access token."""
    about = played.quirks.part("whoami") or played.quirks.part("api")
    headers = {name: value or "any" for name, value in about.get("headers", {}).items()}
    url, bearer = played.at(about["at"]), {"Authorization": f"Bearer {token}"}
    played.sandbox.request(about.get("method", "GET"), url, headers={**headers, **bearer})
    return any(refusal.startswith("api: invalid_token") for refusal in played.seen()["refusals"])


@pytest.mark.parametrize("name", [name for name in OAUTH if name not in REVOKING])
async def test_where_nothing_can_be_taken_back_the_answer_says_so(play: Play, name: str) -> None:
    """No endpoint is made up."""
    played = play(name)
    connection = await played.made()
    ended = await played.app.call("DELETE", f"/v1/connections/{connection['id']}")
    assert ended.json()["upstream"]["outcome"] == "unsupported"
    assert played.seen()["refusals"] == []


@pytest.mark.parametrize("name", HANDED_IN)
async def test_a_credential_that_the_provider_refuses_is_not_stored(play: Play, name: str) -> None:
    """However it says so; the answer names the step and repeats no credential."""  # K1
    played = play(name)
    public = played.provider.public_fields
    for wrong in played.quirks.handed_in[1:]:
        refused = await played.create(dict(wrong))
        assert (refused.status_code, refused.json()["step"]) == (422, "live_test"), refused.text
        assert played.seen()["refusals"]
        assert not [value for field, value in wrong.items() if field not in public and value in refused.text]
    assert (await played.app.call("GET", "/v1/connections")).json()["items"] == []

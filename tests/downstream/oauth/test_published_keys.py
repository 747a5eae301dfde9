"""A client whose keys stand at an address of its own (``jwks_uri``): fetched past the guard, rotated, withdrawn."""

import json
from io import StringIO

import httpx2
import pytest

from broker.app.composition import app_of
from broker.app.heart import build_heart
from broker.providers import Registry
from broker.settings import Settings
from broker.upstream.key_sets import LOOKED_AGAIN_EVERY, PAUSE, TIME_TO_LIVE
from tests.downstream.answers import oauth_error_of
from tests.downstream.oauth.conftest import FORM, MakeKeyClient, Show, refused
from tests.signers import Signer, proof
from tests.upstream.practice_server import PracticeServer, json_answer, practice_server, raw_answer
from tests.world import PUBLIC_URL, FakeClock


@pytest.fixture
def settings(loopback_allowed: Settings) -> Settings:
    """The client's address is on this machine."""
    return loopback_allowed


@pytest.fixture
async def client_id(key_client: MakeKeyClient, publisher: PracticeServer, signer: Signer) -> str:
    """A client whose one key is published."""
    publisher.answers["/jwks"] = json_answer(signer.jwks)
    return await key_client(jwks_uri=f"{publisher.origin}/jwks")


async def unavailable(show: Show, parameters: dict[str, str], wait: int) -> None:
    """The answer where the keys can't be had: the client isn't wrong, and is told when to come again."""
    answer = await show(parameters)
    assert (answer.status_code, oauth_error_of(answer)) == (503, "temporarily_unavailable"), answer.text
    assert answer.headers["retry-after"] == str(wait)
    assert "127.0.0.1" not in answer.text


async def test_a_published_key_proves_its_client(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str
) -> None:
    """The set is fetched once; nothing is sent along but what a public address may see."""
    for _ in range(3):
        assert (await show(proof(signer.assertion(client_id)))).status_code == 200
    [asked] = publisher.asked
    assert (asked.method, asked.target, asked.body) == ("GET", "/jwks", b"")
    assert not {"authorization", "cookie", "referer"} & asked.headers.keys()
    await refused(show, proof(signer.renewed("one").assertion(client_id)))
    assert len(publisher.asked) == 1


async def test_a_rotated_key_works_at_once_and_a_withdrawn_one_ends(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str, clock: FakeClock
) -> None:
    """A new name makes us look; an old one stops within ten minutes without anybody asking."""  # S13
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200
    newer = signer.renewed("two")
    publisher.answers["/jwks"] = json_answer(newer.jwks)
    clock.now += LOOKED_AGAIN_EVERY
    assert (await show(proof(newer.assertion(client_id)))).status_code == 200
    assert len(publisher.asked) == 2
    # The old one is not in the newer set.
    await refused(show, proof(signer.assertion(client_id)))
    newest = signer.renewed("three")
    publisher.answers["/jwks"] = json_answer(newest.jwks)
    assert (await show(proof(newer.assertion(client_id)))).status_code == 200
    clock.now += TIME_TO_LIVE
    await refused(show, proof(newer.assertion(client_id)))


async def test_made_up_names_make_nobody_ask_again(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str, clock: FakeClock
) -> None:
    """A flood of them costs the address one request in half a minute, and the client nothing."""
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200
    clock.now += LOOKED_AGAIN_EVERY
    for turn in range(50):
        await refused(show, proof(signer.sign(signer.claims(client_id), kid=f"made-up-{turn}")))
    assert len(publisher.asked) == 2
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200


async def test_nothing_is_fetched_for_what_can_not_be_right(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str
) -> None:
    """An assertion that is over, or meant for somebody else, makes us ask nobody."""  # S1, S2, S4
    for claims in ({"exp": signer.now - 61}, {"aud": "https://other.test"}, {"jti": ""}):
        await refused(show, proof(signer.assertion(client_id, **claims)))
    assert publisher.asked == []


async def test_an_address_that_is_down_is_no_fault_of_the_clients(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str, clock: FakeClock, logged: StringIO
) -> None:
    """503 with the time to wait; one question in five seconds; the operator reads which client, and why."""  # P1
    publisher.answers["/jwks"] = raw_answer(500)
    for _ in range(5):
        await unavailable(show, proof(signer.assertion(client_id)), 5)
    assert len(publisher.asked) == 1
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    [line] = [line for line in lines if line["event"] == "authentication.keys_unavailable"]
    assert line["client_id"] == client_id
    assert "HTTP 500" in line["reason"]
    publisher.answers["/jwks"] = json_answer(signer.jwks)
    clock.now += PAUSE
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200


async def test_a_flood_that_nobodys_keys_can_judge_is_429_and_who_proves_themself_gets_in(
    show: Show,
    publisher: PracticeServer,
    signer: Signer,
    client_id: str,
    key_client: MakeKeyClient,
    logged: StringIO,
) -> None:
    """One caller can't go on for ever; it costs a line in the log for each fetch; failures are counted apart."""  # S8
    publisher.answers["/jwks"] = raw_answer(500)
    answers = [await show(proof(signer.assertion(client_id))) for _ in range(130)]
    assert [answer.status_code for answer in answers] == [503] * 120 + [429] * 10
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].json()["code"] == "rate_limited"
    assert logged.getvalue().count("authentication.keys_unavailable") == 1
    right = await key_client(jwks=signer.jwks)
    assert (await show(proof(signer.assertion(right)))).status_code == 200
    await refused(show, proof(signer.renewed("one").assertion(right)))


async def test_who_has_no_keys_fetched_uses_nothing_up(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str, clock: FakeClock
) -> None:
    """The same assertion works once its keys can be had."""  # S3
    publisher.answers["/jwks"] = raw_answer(500)
    assertion = signer.assertion(client_id)
    await unavailable(show, proof(assertion), 5)
    publisher.answers["/jwks"] = json_answer(signer.jwks)
    clock.now += PAUSE
    assert (await show(proof(assertion))).status_code == 200
    await refused(show, proof(assertion))


async def test_a_private_key_that_is_published_proves_nobody(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str
) -> None:
    """Everybody can sign with it."""  # S1
    publisher.answers["/jwks"] = json_answer({"keys": [{**signer.key.as_dict(private=True), "kid": "one"}]})
    await refused(show, proof(signer.assertion(client_id)))


async def test_a_key_of_an_unknown_kind_doesnt_spoil_the_others(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str
) -> None:
    """RFC 7517 §5."""
    strange = {"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA"}
    publisher.answers["/jwks"] = json_answer({"keys": [strange, None, signer.public_key]})
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_leads_nowhere(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str, status: int
) -> None:
    """Whoever can redirect the address must not choose the keys."""  # E3
    async with practice_server() as elsewhere:
        elsewhere.answers["/jwks"] = json_answer(signer.jwks)
        publisher.answers["/jwks"] = raw_answer(status, b"", {"location": f"{elsewhere.origin}/jwks"})
        await unavailable(show, proof(signer.assertion(client_id)), 5)
        assert elsewhere.asked == []


async def test_an_address_inside_is_not_asked(
    settings: Settings, providers: Registry, publisher: PracticeServer, signer: Signer, client_id: str, clock: FakeClock
) -> None:
    """Unless the operator allowed it: then the same client is in, as the other tests show."""  # E1
    heart = build_heart(settings.model_copy(update={"egress_allow": ()}), providers, clock)
    transport = httpx2.ASGITransport(app_of(heart), client=("203.0.113.7", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as http:

        async def show(parameters: dict[str, str]) -> httpx2.Response:
            return await http.post("/oauth/token", data={**FORM, **parameters})

        await unavailable(show, proof(signer.assertion(client_id)), 5)
    await heart.aclose(work_ends_within=1)
    assert publisher.asked == []


async def test_the_environments_proxy_learns_nothing(
    show: Show, publisher: PracticeServer, signer: Signer, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor could it put keys of its own in the place of the client's."""  # E5
    async with practice_server() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        assert (await show(proof(signer.assertion(client_id)))).status_code == 200
        assert (proxy.asked, len(publisher.asked)) == ([], 1)

"""``private_key_jwt`` (RFC 7523) as it comes over the wire: what proves a client, when, and how often."""

import asyncio
import json
from io import StringIO
from typing import Any

import httpx2
import pytest
import redis
from joserfc.util import urlsafe_b64decode

from broker.access.key_rules import ALGORITHMS
from broker.app.composition import app_of
from broker.app.heart import Heart, build_heart
from broker.models.ids import new_id
from broker.providers import Registry
from broker.settings import Settings
from broker.vault import names
from tests.access.stored import rewrite
from tests.downstream.answers import nameless, oauth_error_of
from tests.downstream.oauth.conftest import FORM, MakeKeyClient, Show, refused
from tests.journey import everything_in
from tests.signers import ABSENT, Signer, proof
from tests.world import PUBLIC_URL, FakeClock

PATHS = ["/oauth/token", "/oauth/introspect", "/oauth/revoke"]


def spent(raw_store: redis.Redis) -> int:
    """How many identifiers were used up."""
    return len(raw_store.keys("broker:spent:*"))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("named", [True, False])
async def test_a_signature_authenticates_at_every_endpoint(
    show: Show, signer: Signer, client_id: str, path: str, named: bool
) -> None:
    """The client_id may stand beside it or be left out (RFC 7521 §4.2)."""
    answer = await show(proof(signer.assertion(client_id), client_id if named else None), path)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_that_is_listed_works(
    show: Show, key_client: MakeKeyClient, clock: FakeClock, algorithm: str
) -> None:
    """And a token that comes of it is a broker token like any other."""
    signer = Signer.for_algorithm(clock, algorithm)
    answer = await show(proof(signer.assertion(await key_client(jwks=signer.jwks))))
    assert answer.status_code == 200, answer.text
    assert answer.json()["access_token"].startswith("bat_")


@pytest.mark.parametrize("typ", [ABSENT, "JWT", "jwt", "client-authentication+jwt", "application/JWT"])
async def test_the_types_of_an_assertion(show: Show, signer: Signer, client_id: str, typ: Any) -> None:
    """None, the general one, and the one made for this."""
    assert (await show(proof(signer.sign(signer.claims(client_id), typ=typ)))).status_code == 200


async def test_a_key_is_found_by_its_name_or_tried_without_one(
    show: Show, key_client: MakeKeyClient, signer: Signer
) -> None:
    """Of two keys the named one; where none is named, whichever fits."""
    other = signer.renewed("two")
    client_id = await key_client(jwks={"keys": [signer.public_key, other.public_key]})
    for one in (signer, other):
        assert (await show(proof(one.sign(one.claims(client_id))))).status_code == 200
        assert (await show(proof(one.sign(one.claims(client_id), kid=ABSENT)))).status_code == 200
    await refused(show, proof(other.sign(other.claims(client_id), kid="one")))


async def test_a_key_without_a_name_is_known_by_its_thumbprint(
    show: Show, key_client: MakeKeyClient, clock: FakeClock
) -> None:
    """Libraries name a nameless key so (RFC 7638)."""
    nameless_key = Signer(clock, kid=None)
    client_id = await key_client(jwks=nameless_key.jwks)
    thumbprint = nameless_key.key.thumbprint()
    assert (await show(proof(nameless_key.sign(nameless_key.claims(client_id), kid=thumbprint)))).status_code == 200


@pytest.mark.parametrize(
    "audience",
    [
        f"{PUBLIC_URL}/oauth/token",
        f"{PUBLIC_URL}/",
        PUBLIC_URL.upper(),
        [PUBLIC_URL],
        [PUBLIC_URL, "https://other.test"],
        [],
        "",
        None,
        {"aud": PUBLIC_URL},
        ABSENT,
    ],
)
async def test_the_audience_is_this_issuer_alone(show: Show, signer: Signer, client_id: str, audience: Any) -> None:
    """Not an endpoint's address, not a list: such an assertion may have been made for somebody else."""  # S2
    await refused(show, proof(signer.assertion(client_id, aud=audience)))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "cl_" + "a" * 22},
        {"sub": "cl_" + "a" * 22},
        {"sub": "someone"},
        {"iss": ABSENT},
        {"sub": ABSENT},
        {"iss": ""},
        {"sub": None},
        {"jti": ABSENT},
        {"jti": ""},
        {"jti": " "},
        {"jti": " " * 255},
        {"jti": "a\n"},
        {"jti": 7},
        {"jti": ["a"]},
        {"jti": "j" * 256},
        {"jti": "\ud800"},
    ],
)
async def test_issuer_subject_and_identifier_are_needed(
    show: Show, signer: Signer, client_id: str, claims: dict[str, Any]
) -> None:
    """Issuer and subject are the client, and each assertion has a name of its own."""
    await refused(show, proof(signer.assertion(client_id, **claims)))
    await refused(show, proof(signer.assertion(client_id, **claims), client_id))


@pytest.mark.parametrize(
    ("claim", "good", "bad"),
    [
        # Seconds from now. A clock may be a minute off, either way; the end is at most five minutes ahead.
        ("exp", -59, -60),
        ("exp", 360, 361),
        ("iat", 60, 61),
        ("nbf", 60, 61),
    ],
)
async def test_times_and_their_edges(
    show: Show, signer: Signer, client_id: str, clock: FakeClock, claim: str, good: int, bad: int
) -> None:
    """To the second."""  # S4
    clock.now = clock.now // 1000 * 1000
    assert (await show(proof(signer.assertion(client_id, **{claim: signer.now + good})))).status_code == 200
    await refused(show, proof(signer.assertion(client_id, **{claim: signer.now + bad})))


@pytest.mark.parametrize("value", [ABSENT, None, "soon", "9999999999", True, [], {}, 10**400, -(10**400), 1e308, 0])
async def test_an_assertion_must_say_when_it_ends(show: Show, signer: Signer, client_id: str, value: Any) -> None:
    """A text, a truth or a number that is no time says nothing."""  # S4
    await refused(show, proof(signer.assertion(client_id, exp=value)))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("value", ["now", None, True, 10**400, 1e308])
async def test_other_times_are_times_where_they_are_given(
    show: Show, signer: Signer, client_id: str, claim: str, value: Any
) -> None:
    """They may be absent."""  # S4
    await refused(show, proof(signer.assertion(client_id, **{claim: value})))
    assert (await show(proof(signer.assertion(client_id, **{claim: ABSENT})))).status_code == 200


async def test_fractions_of_a_second_are_times(show: Show, signer: Signer, client_id: str) -> None:
    """RFC 7519 §2: a NumericDate may have them."""  # S4
    answer = await show(proof(signer.assertion(client_id, exp=signer.now + 60.5, iat=signer.now + 0.25)))
    assert answer.status_code == 200


async def test_an_assertion_works_once(show: Show, signer: Signer, client_id: str, raw_store: redis.Redis) -> None:
    """Also at another endpoint; and no longer than until it would be refused anyhow is it remembered."""  # S3
    assertion = signer.assertion(client_id)
    assert (await show(proof(assertion))).status_code == 200
    for path in PATHS:
        await refused(show, proof(assertion), path)
    [key] = raw_store.keys("broker:spent:*")
    assert 180_000 < int(raw_store.pttl(key)) <= 240_000
    again = json.loads(urlsafe_b64decode(assertion.split(".")[1].encode()))["jti"]
    await refused(show, proof(signer.assertion(client_id, jti=again)))


async def test_one_assertion_fifty_times_across_replicas_is_accepted_once(
    settings: Settings, providers: Registry, heart: Heart, http: httpx2.AsyncClient, signer: Signer, client_id: str
) -> None:
    """Two replicas on one store, all at once."""  # S3
    second = build_heart(settings, providers, heart.clock)
    transport = httpx2.ASGITransport(app_of(second), client=("203.0.113.8", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as other:
        form = {**FORM, **proof(signer.assertion(client_id))}
        answers = await asyncio.gather(*((http, other)[turn % 2].post("/oauth/token", data=form) for turn in range(50)))
    await second.aclose(work_ends_within=1)
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49


async def test_a_name_of_one_client_is_free_for_another(show: Show, key_client: MakeKeyClient, signer: Signer) -> None:
    """Nobody can use up anothers identifiers."""  # S3
    first, second = await key_client(jwks=signer.jwks), await key_client(jwks=signer.jwks)
    for client_id in (first, second):
        assert (await show(proof(signer.assertion(client_id, jti="the same")))).status_code == 200
        await refused(show, proof(signer.assertion(client_id, jti="the same")))


async def test_what_is_refused_uses_nothing_up(
    show: Show, signer: Signer, client_id: str, raw_store: redis.Redis
) -> None:
    """A forger who knows an identifier can't take it from its owner."""  # S3
    claims = signer.claims(client_id)
    await refused(show, proof(signer.renewed("one").sign(claims)))
    await refused(show, proof(signer.sign({**claims, "aud": "https://other.test"})))
    assert spent(raw_store) == 0
    assert (await show(proof(signer.sign(claims)))).status_code == 200
    assert spent(raw_store) == 1


async def test_every_refusal_is_the_same(show: Show, signer: Signer, client_id: str, key_client: MakeKeyClient) -> None:
    """An unknown client, one without keys, a bad signature, a used token: byte for byte."""  # S8
    keyless = await key_client()
    used = signer.assertion(client_id)
    await show(proof(used))
    answers = [
        await show(proof(assertion, named))
        for assertion, named in [
            (signer.assertion(new_id("cl")), None),
            (signer.assertion(client_id), new_id("cl")),
            (signer.assertion("nobody"), None),
            (signer.assertion(keyless), None),
            (signer.renewed("one").assertion(client_id), None),
            (signer.assertion(client_id, aud="x"), None),
            (used, None),
            ("x", None),
        ]
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert all(nameless(answer) == nameless(answers[0]) for answer in answers)


async def test_failures_count_as_wrong_secrets_do(show: Show, signer: Signer, client_id: str) -> None:
    """A flood is 429; who has the key is let in all the same."""  # S8
    answers = [await show(proof("x")) for _ in range(130)]
    assert [answer.status_code for answer in answers[:100]] == [401] * 100
    assert answers[-1].status_code == 429
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200


async def test_a_deleted_clients_key_is_worth_nothing_at_once(
    show: Show, heart: Heart, signer: Signer, client_id: str
) -> None:
    """The client is looked up each time."""  # S13
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200
    await heart.clients.delete(client_id)
    await refused(show, proof(signer.assertion(client_id)))


async def test_a_key_that_was_taken_out_is_worth_nothing_at_once(
    show: Show, signer: Signer, client_id: str, raw_store: redis.Redis
) -> None:
    """What is registered now counts; nothing of the client is remembered."""  # S13
    newer = signer.renewed("two")
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200
    rewrite(raw_store, names.client(client_id), jwks=newer.jwks)
    await refused(show, proof(signer.assertion(client_id)))
    assert (await show(proof(newer.assertion(client_id)))).status_code == 200


async def test_nothing_of_an_assertion_is_kept(
    show: Show, http: httpx2.AsyncClient, signer: Signer, client_id: str, raw_store: redis.Redis, logged: StringIO
) -> None:
    """Not in the store, where only a digest remembers it, nor in logs and metrics."""  # K1
    assertion = signer.assertion(client_id, jti="planted-jti", more="planted-claim")
    assert (await show(proof(assertion))).status_code == 200
    await refused(show, proof(assertion))
    kept = everything_in(raw_store).decode(errors="replace") + logged.getvalue() + (await http.get("/metrics")).text
    for secret in ("planted", *assertion.split(".")):
        assert secret not in kept


async def test_the_operator_learns_why_and_the_log_holds_no_token(
    show: Show, signer: Signer, client_id: str, logged: StringIO
) -> None:
    """A reason and the client's id, if it is one, in the request's own line: nothing of the assertion."""  # K1
    assertion = signer.assertion(client_id, aud="https://planted-audience.test", jti="planted-jti")
    await refused(show, proof(assertion, client_id))
    await refused(show, proof(assertion, "planted-in-place-of-an-id"))
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["refusal"] for line in lines if line["status"] == 401] == [
        f"the audience is not this issuer alone ({client_id})",
        "no such client (of no client)",
    ]
    for secret in ("planted", assertion, *assertion.split(".")):
        assert secret not in logged.getvalue()


async def test_a_store_that_is_gone_proves_nobody(heart: Heart, show: Show, signer: Signer, client_id: str) -> None:
    """Whether a token was used before can't be told, so it is not accepted."""  # S14, R2
    await heart.store.aclose()
    answer = await show(proof(signer.assertion(client_id)))
    assert (answer.status_code, oauth_error_of(answer)) == (503, "temporarily_unavailable")

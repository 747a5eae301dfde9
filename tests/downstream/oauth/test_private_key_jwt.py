"""``private_key_jwt`` (RFC 7523) as it comes over the wire: what proves a client, and every forgery that doesn't."""

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
from tests.downstream.answers import nameless, oauth_error_of
from tests.downstream.oauth.conftest import FORM, MakeKeyClient, Present
from tests.signers import ABSENT, KEYS, Signer, proof, signed
from tests.upstream.practice_server import PracticeServer, json_answer
from tests.world import PUBLIC_URL, FakeClock, ServiceClient

PATHS = ["/oauth/token", "/oauth/introspect", "/oauth/revoke"]
KINDS = {"RS": "RSA", "PS": "RSA", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "Ed": "Ed25519"}


@pytest.fixture
def settings(loopback_allowed: Settings) -> Settings:
    """Nothing is kept from being fetched but by the rules under test."""
    return loopback_allowed


@pytest.fixture
def signer(clock: FakeClock) -> Signer:
    """A client's key."""
    return Signer(clock)


@pytest.fixture
async def client_id(key_client: MakeKeyClient, signer: Signer) -> str:
    """A client that registered it."""
    return await key_client(jwks=signer.jwks)


def spent(raw_store: redis.Redis) -> int:
    """How many identifiers were used up."""
    return len(raw_store.keys("broker:spent:*"))


async def refused(show: Present, parameters: dict[str, str], path: str = "/oauth/token") -> httpx2.Response:
    """The answer, which must be the one refusal that there is."""
    answer = await show(parameters, path)
    assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client"), answer.text
    assert answer.json()["error_description"] == "client authentication failed"
    assert "www-authenticate" not in answer.headers
    return answer


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("named", [True, False])
async def test_a_signature_authenticates_at_every_endpoint(
    show: Present, signer: Signer, client_id: str, path: str, named: bool
) -> None:
    """The client_id may stand beside it or be left out (RFC 7521 §4.2)."""
    answer = await show(proof(signer.assertion(client_id), client_id if named else None), path)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_that_is_listed_works(
    show: Present, key_client: MakeKeyClient, clock: FakeClock, algorithm: str
) -> None:
    """And a token that comes of it is a broker token like any other."""
    [kind] = [kind for start, kind in KINDS.items() if algorithm.startswith(start)]
    signer = Signer(clock, kind, algorithm)
    answer = await show(proof(signer.assertion(await key_client(jwks=signer.jwks))))
    assert answer.status_code == 200, answer.text
    assert answer.json()["access_token"].startswith("bat_")


@pytest.mark.parametrize("typ", [ABSENT, "JWT", "jwt", "client-authentication+jwt", "application/JWT"])
async def test_the_types_of_an_assertion(show: Present, signer: Signer, client_id: str, typ: Any) -> None:
    """None, the general one, and the one made for this."""
    assert (await show(proof(signer.sign(signer.claims(client_id), typ=typ)))).status_code == 200


async def test_a_key_is_found_by_its_name_or_tried_without_one(
    show: Present, key_client: MakeKeyClient, signer: Signer
) -> None:
    """Of two keys the named one; where none is named, whichever fits."""
    other = signer.renewed("two")
    client_id = await key_client(jwks={"keys": [signer.public_key, other.public_key]})
    for one in (signer, other):
        assert (await show(proof(one.sign(one.claims(client_id))))).status_code == 200
        assert (await show(proof(one.sign(one.claims(client_id), kid=ABSENT)))).status_code == 200
    await refused(show, proof(other.sign(other.claims(client_id), kid="one")))


async def test_a_key_without_a_name_is_known_by_its_thumbprint(
    show: Present, key_client: MakeKeyClient, clock: FakeClock
) -> None:
    """Libraries name a nameless key so (RFC 7638)."""
    nameless_key = Signer(clock, kid=None)
    client_id = await key_client(jwks=nameless_key.jwks)
    thumbprint = nameless_key.key.thumbprint()
    assert (await show(proof(nameless_key.sign(nameless_key.claims(client_id), kid=thumbprint)))).status_code == 200


@pytest.mark.parametrize(
    "kid", ["../one", "../../etc/passwd", "one\0", "ONE", "", "one' OR '1'='1", "*", 1, None, ["one"]]
)
async def test_a_kid_is_a_name_and_nothing_else(show: Present, signer: Signer, client_id: str, kid: Any) -> None:
    """It is compared as it is; it leads nowhere."""  # S1
    await refused(show, proof(signer.sign(signer.claims(client_id), kid=kid)))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit", "b64"])
async def test_a_header_brings_no_key_and_no_address(
    show: Present, key_client: MakeKeyClient, signer: Signer, publisher: PracticeServer, name: str
) -> None:
    """Refused although the client's own key signed it, and nobody is asked anything."""  # S1
    publisher.answers["/jwks"] = json_answer(signer.jwks)
    address = f"{publisher.origin}/jwks"
    values = {"jwk": signer.public_key, "jku": address, "x5u": address, "x5c": ["MII"], "crit": ["exp"], "b64": True}
    for client_id in (await key_client(jwks=signer.jwks), await key_client(jwks_uri=f"{publisher.origin}/own")):
        for value in (values[name], None, []):
            await refused(show, proof(signer.sign(signer.claims(client_id), **{name: value})))
    forger = signer.renewed("one")
    publisher.answers["/jwks"] = json_answer(forger.jwks)
    values["jwk"] = forger.public_key
    client_id = await key_client(jwks=signer.jwks)
    await refused(show, proof(forger.sign(forger.claims(client_id), **{name: values[name]})))
    assert publisher.asked == []


@pytest.mark.parametrize("crit", [["exp"], ["alg"], ["b64"], ["https://x.test/claim"], [], "exp", None])
async def test_no_demand_of_a_header_is_understood(show: Present, signer: Signer, client_id: str, crit: Any) -> None:
    """RFC 7515 §4.1.11: what must be understood and isn't, refuses the token."""  # S1
    await refused(show, proof(signer.sign(signer.claims(client_id), crit=crit, b64=ABSENT)))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, ["ES256"], ABSENT])
async def test_a_token_without_a_signature_proves_nothing(
    show: Present, signer: Signer, client_id: str, name: Any
) -> None:
    """However ``none`` is spelled, with a signature of the client's own key or with none at all."""  # S1
    claims, header = signer.claims(client_id), {"alg": name, "kid": "one"}
    kept = {key: value for key, value in header.items() if value is not ABSENT}
    await refused(show, proof(signed(None, "none", kept, claims)))
    await refused(show, proof(signed(signer.key, "ES256", kept, claims)))
    good = signer.assertion(client_id)
    await refused(show, proof(good[: good.rindex(".") + 1]))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", ["PEM", "DER", "JSON"])
async def test_a_public_key_is_no_shared_secret(
    show: Present, key_client: MakeKeyClient, clock: FakeClock, algorithm: str, form: str
) -> None:
    """Everybody knows it, so everybody could make such an HMAC."""  # S1
    signer = Signer(clock, "RSA", "RS256")
    client_id = await key_client(jwks=signer.jwks)
    known = {
        "PEM": signer.key.as_pem(private=False),
        "DER": signer.key.as_der(private=False),
        "JSON": json.dumps(signer.public_key).encode(),
    }
    await refused(
        show, proof(signed(known[form], algorithm, {"alg": algorithm, "kid": "one"}, signer.claims(client_id)))
    )


async def test_a_key_is_used_with_its_own_algorithms_only(
    show: Present, key_client: MakeKeyClient, clock: FakeClock
) -> None:
    """Neither another type's, nor another curve's, nor, where the key names one, another of its type."""  # S1
    rsa = Signer(clock, "RSA", "RS256")
    bound = await key_client(jwks={"keys": [{**rsa.public_key, "alg": "PS256"}]})
    await refused(show, proof(rsa.assertion(bound)))
    ec = Signer(clock)
    client_id = await key_client(jwks=ec.jwks)
    await refused(show, proof(signed(KEYS["P-256"], "ES256", {"alg": "ES384", "kid": "one"}, ec.claims(client_id))))
    await refused(show, proof(signed(rsa.key, "RS256", {"alg": "ES256", "kid": "one"}, ec.claims(client_id))))


async def test_anothers_signature_proves_nothing(show: Present, key_client: MakeKeyClient, signer: Signer) -> None:
    """Not a stranger's, not another client's, not one over other claims."""  # S1
    client_id, other = await key_client(jwks=signer.jwks), signer.renewed("one")
    other_id = await key_client(jwks=other.jwks)
    await refused(show, proof(other.assertion(client_id)))
    await refused(show, proof(other.assertion(other_id), client_id))
    await refused(show, proof(signer.assertion(client_id), other_id))
    good = signer.assertion(client_id)
    forged = other.assertion(client_id)
    await refused(show, proof(".".join([*good.split(".")[:1], forged.split(".")[1], good.split(".")[2]])))
    assert (await show(proof(good))).status_code == 200


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
async def test_the_audience_is_this_issuer_alone(show: Present, signer: Signer, client_id: str, audience: Any) -> None:
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
        {"jti": 7},
        {"jti": ["a"]},
        {"jti": "j" * 256},
        {"jti": "\ud800"},
    ],
)
async def test_issuer_subject_and_identifier_are_needed(
    show: Present, signer: Signer, client_id: str, claims: dict[str, Any]
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
    show: Present, signer: Signer, client_id: str, clock: FakeClock, claim: str, good: int, bad: int
) -> None:
    """To the second."""  # S4
    clock.now = clock.now // 1000 * 1000
    assert (await show(proof(signer.assertion(client_id, **{claim: signer.now + good})))).status_code == 200
    await refused(show, proof(signer.assertion(client_id, **{claim: signer.now + bad})))


@pytest.mark.parametrize("value", [ABSENT, None, "soon", "9999999999", True, [], {}, 10**400, -(10**400), 1e308, 0])
async def test_an_assertion_must_say_when_it_ends(show: Present, signer: Signer, client_id: str, value: Any) -> None:
    """A text, a truth or a number that is no time says nothing."""  # S4
    await refused(show, proof(signer.assertion(client_id, exp=value)))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("value", ["now", None, True, 10**400, 1e308])
async def test_other_times_are_times_where_they_are_given(
    show: Present, signer: Signer, client_id: str, claim: str, value: Any
) -> None:
    """They may be absent."""  # S4
    await refused(show, proof(signer.assertion(client_id, **{claim: value})))
    assert (await show(proof(signer.assertion(client_id, **{claim: ABSENT})))).status_code == 200


async def test_fractions_of_a_second_are_times(show: Present, signer: Signer, client_id: str) -> None:
    """RFC 7519 §2: a NumericDate may have them."""  # S4
    answer = await show(proof(signer.assertion(client_id, exp=signer.now + 60.5, iat=signer.now + 0.25)))
    assert answer.status_code == 200


def _raw(header: bytes = b'{"alg":"ES256"}', claims: bytes = b"{}", signature: bytes = b"x" * 64) -> str:
    return signed(None, "none", header, claims) + signed(None, "none", b"", signature).split(".")[1]


@pytest.mark.parametrize(
    "assertion",
    [
        "x",
        ".",
        "..",
        "...",
        "e30.e30.e30",
        "e30.e30",
        "e30.e30.e30.e30.e30",
        "é.é.é",
        "=.=.=",
        _raw(b"[]"),
        _raw(b"null"),
        _raw(b"\xff"),
        _raw(b"\xef\xbb\xbf{}"),
        _raw(claims=b"[]"),
        _raw(claims=b'{"exp":NaN,"iss":"a","sub":"a"}'),
        _raw(claims=b'{"exp":' + b"9" * 5000 + b"}"),
        _raw(claims=b"[" * 5000),
        _raw(b'{"alg":"ES256","alg":"ES256"}'),
        "a" * 9000,
    ],
)
async def test_what_is_no_token_is_refused(show: Present, assertion: str) -> None:
    """Whatever its bytes, the answer is the same 401 and no error of ours."""  # S1
    await refused(show, proof(assertion))


@pytest.mark.parametrize("member", ["sub", "aud", "exp"])
async def test_a_claim_that_stands_twice_is_refused(show: Present, signer: Signer, client_id: str, member: str) -> None:
    """Two readers could take different ones."""  # S9
    text = json.dumps(signer.claims(client_id))
    doubled = text[:-1] + f', "{member}": {json.dumps(signer.claims(client_id)[member])}}}'
    await refused(show, proof(signed(signer.key, "ES256", {"alg": "ES256"}, doubled.encode())))
    assert (await show(proof(signed(signer.key, "ES256", {"alg": "ES256"}, text.encode())))).status_code == 200


async def test_a_token_of_eight_kibibytes_is_the_longest(show: Present, signer: Signer, client_id: str) -> None:
    """What is longer is not read."""
    short = len(signer.assertion(client_id, more=""))
    fits = signer.assertion(client_id, more="m" * ((8192 - short) * 3 // 4 - 4))
    assert 8180 <= len(fits) <= 8192
    assert (await show(proof(fits))).status_code == 200
    await refused(show, proof(signer.assertion(client_id, more="m" * ((8192 - short) * 3 // 4 + 4))))


async def test_an_assertion_works_once(show: Present, signer: Signer, client_id: str, raw_store: redis.Redis) -> None:
    """Also at another endpoint; and no longer than until it would be refused anyhow is it remembered."""  # S3
    assertion = signer.assertion(client_id)
    assert (await show(proof(assertion))).status_code == 200
    for path in PATHS:
        await refused(show, proof(assertion), path)
    [key] = raw_store.keys("broker:spent:*")
    assert 120_000 < int(raw_store.pttl(key)) <= 180_000
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


async def test_a_name_of_one_client_is_free_for_another(
    show: Present, key_client: MakeKeyClient, signer: Signer
) -> None:
    """Nobody can use up anothers identifiers."""  # S3
    first, second = await key_client(jwks=signer.jwks), await key_client(jwks=signer.jwks)
    for client_id in (first, second):
        assert (await show(proof(signer.assertion(client_id, jti="the same")))).status_code == 200
        await refused(show, proof(signer.assertion(client_id, jti="the same")))


async def test_what_is_refused_uses_nothing_up(
    show: Present, signer: Signer, client_id: str, raw_store: redis.Redis
) -> None:
    """A forger who knows an identifier can't take it from its owner."""  # S3
    claims = signer.claims(client_id)
    await refused(show, proof(signer.renewed("one").sign(claims)))
    await refused(show, proof(signer.sign({**claims, "aud": "https://other.test"})))
    assert spent(raw_store) == 0
    assert (await show(proof(signer.sign(claims)))).status_code == 200
    assert spent(raw_store) == 1


async def test_every_refusal_is_the_same(
    show: Present, signer: Signer, client_id: str, key_client: MakeKeyClient
) -> None:
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


async def test_failures_count_as_wrong_secrets_do(show: Present, signer: Signer, client_id: str) -> None:
    """A flood is 429; who has the key is let in all the same."""  # S8
    answers = [await show(proof("x")) for _ in range(130)]
    assert [answer.status_code for answer in answers[:100]] == [401] * 100
    assert answers[-1].status_code == 429
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200


@pytest.mark.parametrize("missing", ["client_assertion", "client_assertion_type"])
async def test_an_assertion_and_its_type_come_together(
    show: Present, signer: Signer, client_id: str, missing: str
) -> None:
    """One without the other is a request that is wrong in itself."""  # S9
    parameters = proof(signer.assertion(client_id), client_id)
    del parameters[missing]
    answer = await show(parameters)
    assert (answer.status_code, oauth_error_of(answer)) == (400, "invalid_request")
    assert missing in answer.json()["error_description"]


@pytest.mark.parametrize(
    "kind", ["urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer", "urn:ietf:params:oauth:x"]
)
async def test_another_type_of_assertion_is_not_supported(
    show: Present, signer: Signer, client_id: str, kind: str
) -> None:
    """RFC 6749 §5.2: an unsupported authentication method is invalid_client."""
    await refused(show, {**proof(signer.assertion(client_id)), "client_assertion_type": kind})


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "logout+jwt", "JWS", "", 1, None, ["JWT"]])
async def test_a_token_made_for_something_else_is_refused(
    show: Present, signer: Signer, client_id: str, typ: Any
) -> None:
    """An access token or a DPoP proof that the same key signed is no assertion."""
    await refused(show, proof(signer.sign(signer.claims(client_id), typ=typ)))


async def test_a_client_with_keys_has_no_secret(show: Present, client_id: str) -> None:
    """Nor does the empty one, or anything that stands in the place of none, open anything."""  # S14
    secrets = ["", "None", "null", "nobody's secret", "[]", "x"]
    for secret in secrets:
        for options in ({"auth": (client_id, secret)}, {}):
            parameters = {} if options else {"client_id": client_id, "client_secret": secret}
            answer = await show(parameters, **options)
            assert (answer.status_code, oauth_error_of(answer)) == (401, "invalid_client")


async def test_a_client_with_a_secret_has_no_keys(app: ServiceClient, signer: Signer, show: Present) -> None:
    """A signature by whichever key proves nothing."""
    await refused(show, proof(signer.assertion(app.client_id)))


async def test_a_deleted_clients_key_is_worth_nothing_at_once(
    show: Present, heart: Heart, signer: Signer, client_id: str
) -> None:
    """The client is looked up each time."""  # S13
    assert (await show(proof(signer.assertion(client_id)))).status_code == 200
    await heart.clients.delete(client_id)
    await refused(show, proof(signer.assertion(client_id)))


async def test_the_operator_learns_why_and_the_log_holds_no_token(
    show: Present, signer: Signer, client_id: str, logged: StringIO
) -> None:
    """A reason and the client's id, if it is one: nothing of the assertion."""  # K1
    assertion = signer.assertion(client_id, aud="https://planted-audience.test", jti="planted-jti")
    await refused(show, proof(assertion, client_id))
    await refused(show, proof(assertion, "planted-in-place-of-an-id"))
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    reasons = [line for line in lines if line["event"] == "authentication.assertion_refused"]
    assert [line["client_id"] for line in reasons] == [client_id, None]
    assert reasons[0]["reason"] == "the audience is not this issuer alone"
    for secret in ("planted", assertion, *assertion.split(".")):
        assert secret not in logged.getvalue()


async def test_a_store_that_is_gone_proves_nobody(heart: Heart, show: Present, signer: Signer, client_id: str) -> None:
    """Whether a token was used before can't be told, so it is not accepted."""  # S14, R2
    await heart.store.aclose()
    answer = await show(proof(signer.assertion(client_id)))
    assert (answer.status_code, oauth_error_of(answer)) == (503, "temporarily_unavailable")

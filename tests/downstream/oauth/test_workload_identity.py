"""Programs without any secret: the token that their platform signs for them is their proof."""

import json
from io import StringIO
from typing import Any

import pytest
import redis

from broker.app.heart import Heart
from broker.models.ids import new_id
from broker.settings import Settings
from broker.vault import names
from tests.access.stored import rewrite
from tests.downstream.answers import nameless, oauth_error_of
from tests.downstream.oauth.conftest import MakeKeyClient, Show, refused
from tests.downstream.oauth.platforms import AUDIENCE, OPENID, SUBJECT, Platform
from tests.downstream.watching import watching
from tests.signers import ABSENT, Signer, proof
from tests.upstream.practice_server import PracticeServer, practice_server, raw_answer
from tests.world import PUBLIC_URL, FakeClock


@pytest.fixture
def settings(loopback_allowed: Settings) -> Settings:
    """The platform is on this machine."""
    return loopback_allowed


@pytest.fixture
def platform(publisher: PracticeServer, clock: FakeClock) -> Platform:
    """A platform whose keys are found by its metadata."""
    return Platform(publisher, clock)


@pytest.fixture
async def client_id(key_client: MakeKeyClient, platform: Platform) -> str:
    """A client that stands for one program of the platform."""
    return await key_client(workloads=[platform.workload()])


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
async def test_a_platforms_token_authenticates_its_program(
    show: Show, platform: Platform, client_id: str, path: str
) -> None:
    """Issuer and subject differ, the audience is a list of one, there is no jti: all that is normal."""
    answer = await show(proof(platform.token(), client_id), path)
    assert answer.status_code == 200, answer.text
    assert [asked.target for asked in platform.server.asked] == [OPENID, "/openid/v1/jwks"]
    assert (await show(proof(platform.token(), client_id), path)).status_code == 200
    assert len(platform.server.asked) == 2


async def test_a_platforms_token_may_be_shown_again(
    show: Show, platform: Platform, client_id: str, raw_store: redis.Redis
) -> None:
    """The platform hands out the same one for an hour; nothing of it is stored."""
    token = platform.token(jti="one")
    for _ in range(3):
        assert (await show(proof(token, client_id))).status_code == 200
    assert raw_store.keys("broker:spent:*") == []


async def test_a_ci_jobs_token(show: Show, key_client: MakeKeyClient, platform: Platform) -> None:
    """A type, a certificate's thumbprint in the header, and a plain audience."""
    subject = "repo:shop/checkout:ref:refs/heads/main"
    client_id = await key_client(workloads=[platform.workload(subject=subject)])
    token = platform.signer.sign(platform.claims(sub=subject, aud=AUDIENCE, jti="5f"), typ="JWT", x5t="abc")
    assert (await show(proof(token, client_id))).status_code == 200


async def test_registered_keys_are_used_and_nobody_is_asked(
    show: Show, key_client: MakeKeyClient, platform: Platform
) -> None:
    """For a cluster that can't be reached from here."""
    workload = platform.workload(issuer="https://kubernetes.default.svc", jwks=platform.signer.jwks)
    client_id = await key_client(workloads=[workload])
    token = platform.token(iss="https://kubernetes.default.svc")
    assert (await show(proof(token, client_id))).status_code == 200
    assert platform.server.asked == []


ISSUER = "https://kubernetes.default.svc"


@pytest.fixture
async def registered(key_client: MakeKeyClient, platform: Platform) -> str:
    """A client of which the platform's keys are registered."""
    return await key_client(workloads=[platform.workload(issuer=ISSUER, jwks=platform.signer.jwks)])


async def test_a_token_that_is_shown_again_costs_no_look_at_the_store(
    show: Show, platform: Platform, registered: str, raw_store: redis.Redis
) -> None:
    """It proves the same as before; beside another name, and as a secret, nothing."""
    token = platform.token(iss=ISSUER)
    assert (await show(proof(token, registered), "/oauth/introspect")).status_code == 200
    with watching(raw_store) as watched:
        assert (await show(proof(token, registered), "/oauth/introspect")).status_code == 200
    assert watched.commands == ["GET"]  # what is to be introspected
    await refused(show, proof(token, new_id("cl")))
    await refused(show, {"client_id": registered, "client_secret": token})
    await refused(show, proof(platform.token(iss=ISSUER, sub="x"), registered))


async def test_a_token_that_is_shown_again_ends_when_it_says(
    show: Show, platform: Platform, registered: str, clock: FakeClock
) -> None:
    """To the millisecond, a minute for clocks that differ included, however often it was shown."""
    ends = platform.signer.now + 4
    token = platform.token(iss=ISSUER, exp=ends)
    clock.advance(seconds=62)
    assert (await show(proof(token, registered))).status_code == 200
    clock.now = (ends + 60) * 1000 - 1
    assert (await show(proof(token, registered))).status_code == 200
    clock.now += 1
    await refused(show, proof(token, registered))


async def test_what_this_process_did_to_a_program_counts_at_once(
    show: Show, heart: Heart, platform: Platform, registered: str
) -> None:
    """Nobody waits for a look at what was done here."""  # S13
    token = platform.token(iss=ISSUER)
    assert (await show(proof(token, registered))).status_code == 200
    await heart.clients.replace_keys(registered, platform.signer.renewed("other").jwks)
    await refused(show, proof(token, registered))


@pytest.mark.parametrize("change", ["taken out", "other keys", "deleted"])
async def test_what_another_replica_did_to_a_program_counts_within_seconds(
    show: Show, heart: Heart, platform: Platform, registered: str, raw_store: redis.Redis, change: str
) -> None:
    """Though its token was shown here a moment ago."""  # S13
    token = platform.token(iss=ISSUER)
    assert (await show(proof(token, registered))).status_code == 200
    if change == "deleted":
        raw_store.delete(names.client(registered))
    else:
        other = {"subject": "x"} if change == "taken out" else {"jwks": platform.signer.renewed("other").jwks}
        workload = {"issuer": ISSUER, "jwks": platform.signer.jwks, **other}
        rewrite(raw_store, names.client(registered), workloads=[platform.workload(**workload)])
    await heart.authenticator.revalidate()
    await refused(show, proof(token, registered))


async def test_each_program_of_several_is_the_client(show: Show, key_client: MakeKeyClient, platform: Platform) -> None:
    """And only those: subject and audience belong together."""
    client_id = await key_client(
        workloads=[platform.workload(), platform.workload(subject="other", audience="https://other.example")]
    )
    assert (await show(proof(platform.token(), client_id))).status_code == 200
    assert (await show(proof(platform.token(sub="other", aud="https://other.example"), client_id))).status_code == 200
    await refused(show, proof(platform.token(sub="other"), client_id))
    await refused(show, proof(platform.token(aud="https://other.example"), client_id))


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "system:serviceaccount:shop:checkout2"},
        {"sub": "system:serviceaccount:shop:check"},
        {"sub": "system:serviceaccount:shop:Checkout"},
        {"sub": "system:serviceaccount:evil:checkout"},
        {"sub": f"{SUBJECT} "},
        {"sub": "*"},
        {"sub": [SUBJECT]},
        {"sub": ABSENT},
        {"aud": PUBLIC_URL},
        {"aud": f"{AUDIENCE}/"},
        {"aud": [AUDIENCE, "https://other.example"]},
        {"aud": [AUDIENCE, AUDIENCE]},
        {"aud": [[AUDIENCE]]},
        {"aud": []},
        {"aud": ABSENT},
        {"iss": "https://evil.test"},
        {"iss": ABSENT},
    ],
)
async def test_issuer_audience_and_subject_are_pinned(
    show: Show, platform: Platform, client_id: str, claims: dict[str, Any]
) -> None:
    """To the letter, each of them, and no other audience beside; nobody is asked for keys."""  # S1, S2
    await refused(show, proof(platform.token(**claims), client_id))
    assert platform.server.asked == []


@pytest.mark.parametrize("ending", ["/", "/x", "?a", "#a"])
async def test_an_issuer_is_compared_to_the_letter(show: Show, platform: Platform, client_id: str, ending: str) -> None:
    """A slash makes another one."""
    await refused(show, proof(platform.token(iss=platform.issuer + ending), client_id))


async def test_what_a_token_says_of_its_issuer_makes_nobody_ask(
    show: Show, platform: Platform, client_id: str, key_client: MakeKeyClient, clock: FakeClock
) -> None:
    """A stranger's platform with a token that is right in itself is not even looked at."""  # S1, E1
    async with practice_server() as theirs:
        stranger = Platform(theirs, clock)
        await refused(show, proof(stranger.token(), client_id))
        # Also where its key has the same name as the platform's, and where the header points at it.
        token = stranger.signer.sign(stranger.claims(iss=platform.issuer), jku=f"{theirs.origin}/openid/v1/jwks")
        await refused(show, proof(token, client_id))
        await refused(show, proof(stranger.token(), await key_client()))
        assert theirs.asked == []


async def test_another_key_under_the_same_name_proves_nothing(
    show: Show, platform: Platform, client_id: str, clock: FakeClock
) -> None:
    """The signature is what counts."""  # S1
    forger = Signer(clock).renewed("platform-1")
    await refused(show, proof(forger.sign(platform.claims()), client_id))


async def test_another_issuers_keys_prove_nothing(
    show: Show, key_client: MakeKeyClient, platform: Platform, clock: FakeClock
) -> None:
    """Of two registered platforms, one can't speak for the programs of the other."""  # S1
    async with practice_server() as theirs:
        second = Platform(theirs, clock)
        second.signer = Signer(clock).renewed("platform-1")
        second.publish()
        client_id = await key_client(workloads=[platform.workload(), second.workload(subject="other")])
        assert (await show(proof(second.token(sub="other"), client_id))).status_code == 200
        await refused(show, proof(second.signer.sign(platform.claims()), client_id))
        await refused(show, proof(second.token(), client_id))


async def test_the_client_must_be_named(show: Show, platform: Platform, client_id: str) -> None:
    """A platform's subject is no client's id; and another client's is another client."""
    await refused(show, proof(platform.token()))
    assert (await show(proof(platform.token(), client_id))).status_code == 200


async def test_a_program_is_the_client_that_registered_it(
    show: Show, key_client: MakeKeyClient, platform: Platform, client_id: str
) -> None:
    """With a right token, but for a client of somebody else: the same refusal as for one that there isn't."""  # S5
    other = await key_client(workloads=[platform.workload(subject="other")])
    answers = [await refused(show, proof(platform.token(), named)) for named in (other, "cl_" + "a" * 22, "x")]
    assert all(nameless(answer) == nameless(answers[0]) for answer in answers)


@pytest.mark.parametrize(
    ("claim", "good", "bad"),
    [("exp", -59, -60), ("exp", 86_460, 86_461), ("iat", 60, 61), ("nbf", 60, 61)],
)
async def test_times_and_their_edges(
    show: Show, platform: Platform, client_id: str, clock: FakeClock, claim: str, good: int, bad: int
) -> None:
    """A minute either way; at most a day ahead, for it works as often as it is shown."""  # S4
    clock.now = clock.now // 1000 * 1000
    now = platform.signer.now
    assert (await show(proof(platform.token(**{claim: now + good}), client_id))).status_code == 200
    await refused(show, proof(platform.token(**{claim: now + bad}), client_id))


async def test_a_token_without_an_end_is_refused(show: Show, platform: Platform, client_id: str) -> None:
    """As the secrets of service accounts once were."""  # S4
    await refused(show, proof(platform.token(exp=ABSENT), client_id))


@pytest.mark.parametrize("typ", ["at+jwt", "client-authentication+jwt", "secevent+jwt"])
async def test_a_token_made_for_something_else_is_refused(
    show: Show, platform: Platform, client_id: str, typ: str
) -> None:
    """A platform that also issues access tokens doesn't vouch with those."""
    await refused(show, proof(platform.signer.sign(platform.claims(), typ=typ), client_id))


async def test_a_program_can_not_pass_as_a_client_with_keys(
    show: Show, key_client: MakeKeyClient, platform: Platform, client_id: str, clock: FakeClock
) -> None:
    """A platform can sign a token whose issuer is a client's id: that needs the client's own key."""  # S1
    claims = {"iss": client_id, "sub": client_id, "aud": PUBLIC_URL, "jti": "one", "exp": platform.signer.now + 60}
    await refused(show, proof(platform.token(**claims), client_id))
    own = Signer(clock)
    both = await key_client(jwks=own.jwks, workloads=[platform.workload()])
    assert (await show(proof(own.assertion(both)))).status_code == 200
    assert (await show(proof(platform.token(), both))).status_code == 200
    await refused(show, proof(own.sign(platform.claims()), both))
    await refused(show, proof(platform.token(**{**claims, "iss": both, "sub": both}), both))


@pytest.mark.parametrize(
    "document",
    [{"issuer": "https://evil.test"}, {"jwks_uri": "http://keys.example/jwks"}, {"jwks_uri": None}],
)
async def test_metadata_of_another_issuer_lead_nowhere(
    show: Show, platform: Platform, client_id: str, document: dict[str, Any]
) -> None:
    """Nobody is let in, nobody's keys are fetched; the answer doesn't say which address was at fault."""  # E4
    platform.publish(**document)
    answer = await show(proof(platform.token(), client_id))
    assert (answer.status_code, oauth_error_of(answer)) == (503, "temporarily_unavailable")
    assert "127.0.0.1" not in answer.text
    assert "/openid/v1/jwks" not in [asked.target for asked in platform.server.asked]


async def test_metadata_that_redirect_lead_nowhere(show: Show, platform: Platform, client_id: str) -> None:
    """Neither the well-known place nor the keys' may send us on."""  # E3
    async with practice_server() as elsewhere:
        away = raw_answer(302, b"", {"location": f"{elsewhere.origin}/"})
        platform.server.answers["/openid/v1/jwks"] = away
        assert (await show(proof(platform.token(), client_id))).status_code == 503
        assert elsewhere.asked == []


async def test_a_program_that_was_taken_out_is_nobody_at_once(
    show: Show, platform: Platform, client_id: str, raw_store: redis.Redis
) -> None:
    """Though its platform still signs for it, and its keys are known here."""  # S13
    assert (await show(proof(platform.token(), client_id))).status_code == 200
    rewrite(raw_store, names.client(client_id), workloads=[platform.workload(subject="other")])
    await refused(show, proof(platform.token(), client_id))


async def test_a_deleted_clients_programs_are_nobody_at_once(
    show: Show, heart: Heart, platform: Platform, client_id: str
) -> None:
    """Whatever the platform signs."""  # S13
    assert (await show(proof(platform.token(), client_id))).status_code == 200
    await heart.clients.delete(client_id)
    await refused(show, proof(platform.token(), client_id))


@pytest.mark.parametrize(
    ("claims", "differing"),
    [
        ({"sub": "system:serviceaccount:shop:checkuot"}, "other subject"),
        ({"aud": ["https://broker.shop.example/oauth/token"]}, "other audience"),
        ({"aud": [AUDIENCE, "https://kubernetes.default.svc"]}, "other audience"),
        ({"iss": "https://elsewhere.example"}, "other issuer"),
        ({"iss": "https://elsewhere.example", "sub": "x"}, "other issuer, other subject"),
    ],
)
async def test_the_operator_learns_what_differs(
    show: Show, platform: Platform, client_id: str, logged: StringIO, claims: dict[str, Any], differing: str
) -> None:
    """Which part it is stands in the log, and no value of the token; callers are told nothing of it."""  # K1
    await refused(show, proof(platform.token(**claims), client_id))
    [line] = [line for line in map(json.loads, logged.getvalue().splitlines()) if line.get("status") == 401]
    assert line["refusal"] == f"it is of no workload of this client: {differing} ({client_id})"


async def test_a_token_from_a_file_that_ends_in_a_newline(show: Show, platform: Platform, client_id: str) -> None:
    """As most files do, and most commands print."""
    assert (await show(proof(platform.token() + "\n", client_id))).status_code == 200
    await refused(show, proof("\n" + platform.token(), client_id))


async def test_keys_of_a_private_address_are_advised_of(
    heart: Heart, show: Show, key_client: MakeKeyClient, platform: Platform, logged: StringIO
) -> None:
    """The log names the setting that would let them be fetched; the stranger at the other end hears no address."""
    client_id = await key_client(workloads=[platform.workload(issuer="https://10.0.0.1")])
    answer = await show(proof(platform.token(iss="https://10.0.0.1"), client_id))
    assert answer.status_code == 503
    assert "10.0.0.1" not in answer.text
    assert "BROKER_EGRESS_ALLOW" in logged.getvalue()

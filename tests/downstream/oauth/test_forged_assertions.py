"""Assertions that only look like a client's, over the wire: each is the one 401, and nothing is fetched."""

import json
from typing import Any

import pytest

from broker.settings import Settings
from tests.downstream.oauth.conftest import MakeKeyClient, Show, refused
from tests.signers import ABSENT, KEYS, Signer, proof, signed
from tests.upstream.practice_server import PracticeServer, json_answer
from tests.world import FakeClock


@pytest.fixture
def settings(loopback_allowed: Settings) -> Settings:
    """Nothing is kept from being fetched but by the rules under test."""
    return loopback_allowed


@pytest.mark.parametrize(
    "kid", ["../one", "../../etc/passwd", "one\0", "ONE", "", "one' OR '1'='1", "*", 1, None, ["one"]]
)
async def test_a_kid_is_a_name_and_nothing_else(show: Show, signer: Signer, client_id: str, kid: Any) -> None:
    """It is compared as it is; it leads nowhere."""  # S1
    await refused(show, proof(signer.sign(signer.claims(client_id), kid=kid)))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit", "b64"])
async def test_a_header_brings_no_key_and_no_address(
    show: Show, key_client: MakeKeyClient, signer: Signer, publisher: PracticeServer, name: str
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
async def test_no_demand_of_a_header_is_understood(show: Show, signer: Signer, client_id: str, crit: Any) -> None:
    """RFC 7515 §4.1.11: what must be understood and isn't, refuses the token."""  # S1
    await refused(show, proof(signer.sign(signer.claims(client_id), crit=crit, b64=ABSENT)))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, ["ES256"], ABSENT])
async def test_a_token_without_a_signature_proves_nothing(
    show: Show, signer: Signer, client_id: str, name: Any
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
    show: Show, key_client: MakeKeyClient, clock: FakeClock, algorithm: str, form: str
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
    show: Show, key_client: MakeKeyClient, clock: FakeClock
) -> None:
    """Neither another type's, nor another curve's, nor, where the key names one, another of its type."""  # S1
    rsa = Signer(clock, "RSA", "RS256")
    bound = await key_client(jwks={"keys": [{**rsa.public_key, "alg": "PS256"}]})
    await refused(show, proof(rsa.assertion(bound)))
    ec = Signer(clock)
    client_id = await key_client(jwks=ec.jwks)
    await refused(show, proof(signed(KEYS["P-256"], "ES256", {"alg": "ES384", "kid": "one"}, ec.claims(client_id))))
    await refused(show, proof(signed(rsa.key, "RS256", {"alg": "ES256", "kid": "one"}, ec.claims(client_id))))


async def test_anothers_signature_proves_nothing(show: Show, key_client: MakeKeyClient, signer: Signer) -> None:
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
async def test_what_is_no_token_is_refused(show: Show, assertion: str) -> None:
    """Whatever its bytes, the answer is the same 401 and no error of ours."""  # S1
    await refused(show, proof(assertion))


@pytest.mark.parametrize("member", ["sub", "aud", "exp"])
async def test_a_claim_that_stands_twice_is_refused(show: Show, signer: Signer, client_id: str, member: str) -> None:
    """Two readers could take different ones."""  # S9
    text = json.dumps(signer.claims(client_id))
    doubled = text[:-1] + f', "{member}": {json.dumps(signer.claims(client_id)[member])}}}'
    await refused(show, proof(signed(signer.key, "ES256", {"alg": "ES256"}, doubled.encode())))
    assert (await show(proof(signed(signer.key, "ES256", {"alg": "ES256"}, text.encode())))).status_code == 200


async def test_a_token_of_eight_kibibytes_is_the_longest(show: Show, signer: Signer, client_id: str) -> None:
    """What is longer is not read."""
    short = len(signer.assertion(client_id, more=""))
    fits = signer.assertion(client_id, more="m" * ((8192 - short) * 3 // 4 - 4))
    assert 8180 <= len(fits) <= 8192
    assert (await show(proof(fits))).status_code == 200
    await refused(show, proof(signer.assertion(client_id, more="m" * ((8192 - short) * 3 // 4 + 4))))


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "logout+jwt", "JWS", "", 1, None, ["JWT"]])
async def test_a_token_made_for_something_else_is_refused(show: Show, signer: Signer, client_id: str, typ: Any) -> None:
    """An access token or a DPoP proof that the same key signed is no assertion."""
    await refused(show, proof(signer.sign(signer.claims(client_id), typ=typ)))

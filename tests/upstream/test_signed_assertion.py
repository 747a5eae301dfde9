"""What is signed with a private key that was handed in."""

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from broker.errors import NotSent
from broker.upstream.signed_assertion import sign_assertion
from tests.pems import PKCS1_PEM, PUBLIC_PEM, RSA_PEM, UNUSABLE

CLAIMS = {"iss": "app", "iat": 1, "exp": 2}


@pytest.mark.parametrize("pem", [RSA_PEM, PKCS1_PEM, f"\n{RSA_PEM}\n\n"], ids=["PKCS 8", "PKCS 1", "with blank lines"])
def test_it_is_verified_with_the_public_key(pem: str) -> None:
    """RS256 and nothing else, whatever the key's form."""
    token = jwt.decode(sign_assertion(CLAIMS, pem, key_id="k1"), RSAKey.import_key(PUBLIC_PEM), algorithms=["RS256"])
    assert token.claims == CLAIMS
    assert token.header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}


@pytest.mark.parametrize("pem", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_can_not_sign_sends_nothing(pem: str) -> None:
    """The error says what is wrong, and nothing of the key."""  # K1
    with pytest.raises(NotSent, match="the private key is no ") as refused:
        sign_assertion(CLAIMS, pem)
    assert not [line for line in pem.splitlines() if line in refused.value.detail]

"""Assertions signed with a private key that was handed in (RFC 7515, RS256): short-lived, and used once, at once."""

from collections.abc import Mapping
from typing import Final

from joserfc import jwt
from joserfc.jwk import RSAKey

from broker.errors import NotSent
from broker.providers.private_keys import read_private_key

BACKDATED: Final = 60
"""Seconds by which an assertion says to be older than it is: the reader's clock may be behind ours."""


def sign_assertion(claims: Mapping[str, object], pem: str, *, key_id: str | None = None) -> str:
    """``claims`` as a JWT (RFC 7519), signed with ``pem``.

    :raises NotSent: the key can't be used.
    """
    header = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    try:
        key = RSAKey.import_key(read_private_key(pem))
    except ValueError as error:
        raise NotSent(f"the private key {error}") from None
    # Named here, not read from anywhere: no header or key can choose another algorithm.
    return jwt.encode(header, dict(claims), key, algorithms=["RS256"])

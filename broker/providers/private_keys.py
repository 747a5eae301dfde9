"""Private keys in PEM, as providers hand them out: which of them can be signed with."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_SIZES: Final = (2048, 4096)
"""Bits. Shorter keys are no longer trusted (NIST SP 800-131A), longer ones take too long to sign with."""


def read_private_key(pem: str) -> RSAPrivateKey:
    """The RSA key that ``pem`` (PKCS #1 or PKCS #8) holds, also where its line breaks are spelled ``\\n``, as they are
    when somebody has put it into one line of an environment.

    :raises ValueError: it holds none that can be used; says why, and nothing of what it holds.
    """
    # No backslash stands in PEM itself (RFC 7468 §3).
    pem = pem.replace("\\r", "").replace("\\n", "\n")
    try:
        # That its numbers belong together isn't checked, which would take a quarter of a second: with a key that is
        # made up, whoever made it up signs what the provider refuses.
        key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own words may quote what it read.
        raise ValueError("is no private key in PEM that can be read without a password") from None
    if not isinstance(key, RSAPrivateKey) or not _SIZES[0] <= key.key_size <= _SIZES[1]:
        raise ValueError(f"is no RSA key of {_SIZES[0]} to {_SIZES[1]} bits")
    return key

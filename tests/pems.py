"""Private keys in PEM, made once: as providers hand them out, and as they don't."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(
    key: PrivateKeyTypes,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


RSA_PEM: Final = _pem(_KEY)
"""PKCS #8, as key files hold it."""
PKCS1_PEM: Final = _pem(_KEY, PrivateFormat.TraditionalOpenSSL)
"""PKCS #1, as apps' keys are downloaded; the same key."""
PUBLIC_PEM: Final = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

UNUSABLE: Final = {
    "text": "nothing of the sort",
    "nothing in it": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "public": PUBLIC_PEM,
    "too short": _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - nothing is signed with it
    "another algorithm": _pem(ec.generate_private_key(ec.SECP256R1())),
    "locked": _pem(_KEY, encryption=BestAvailableEncryption(b"password")),
}
"""What can't be signed with."""

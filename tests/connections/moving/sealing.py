"""Keys that exports are sealed to, and exports made with them."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import import_key

from broker.app.heart import Heart
from broker.connections.moving.exporting import Exported, Exporting, Selection
from broker.connections.moving.formats import ReadOptions, reader
from broker.connections.moving.recipients import read_public_key
from broker.connections.moving.row import Row, RowFault
from broker.connections.moving.sealed_file import Sealer
from broker.models.ids import new_id


@dataclass(frozen=True, slots=True)
class Pair:
    """Both halves of a key, as files hold them."""

    private: bytes
    public: bytes

    @classmethod
    def of(cls, key: PrivateKeyTypes) -> "Pair":
        """In PEM."""
        return cls(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        )

    @property
    def jwk(self) -> "Pair":
        """The same key, as JWKs."""
        kind = "RSA" if b"RSA" in self.private or len(self.public) > 400 else "EC" if len(self.public) > 120 else "OKP"
        key = import_key(self.private, kind)  # type: ignore[call-overload]
        import json

        return Pair(json.dumps(key.as_dict(private=True)).encode(), json.dumps(key.as_dict(private=False)).encode())


def protected(key: PrivateKeyTypes, passphrase: bytes) -> bytes:
    """A private key in PEM that needs a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))


X25519: Final = x25519.X25519PrivateKey.generate()
OURS: Final = Pair.of(X25519)
THEIRS: Final = Pair.of(x25519.X25519PrivateKey.generate())
PAIRS: Final = {
    "X25519": OURS,
    "P-256": Pair.of(ec.generate_private_key(ec.SECP256R1())),
    "P-384": Pair.of(ec.generate_private_key(ec.SECP384R1())),
    "P-521": Pair.of(ec.generate_private_key(ec.SECP521R1())),
    "RSA": Pair.of(rsa.generate_private_key(65537, 2048)),
}
UNFIT: Final = {
    "Ed25519": Pair.of(ed25519.Ed25519PrivateKey.generate()),
    "secp256k1": Pair.of(ec.generate_private_key(ec.SECP256K1())),
    "RSA 1024": Pair.of(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - to be refused
}


def sealer_for(pair: Pair = OURS) -> Sealer:
    """Seals to the key."""
    return Sealer(read_public_key(pair.public), export_id=new_id("exp"), broker="https://broker.example", created_at=1)


async def exported(
    heart: Heart, selection: Selection | None = None, pair: Pair = OURS, lines: list[bytes] | None = None
) -> tuple[bytes, Exported]:
    """The file, and what came of it."""
    lines = [] if lines is None else lines
    exporting = Exporting(heart.store, heart.records, heart.parked, heart.journal, heart.bookkeeping, heart.clock)
    recipient = read_public_key(pair.public).thumbprint
    done = await exporting.export(
        selection or Selection(), sealer_for(pair), lines.append, lambda *_: None, recipient=recipient
    )
    return b"".join(lines), done


def read(file: bytes, pair: Pair = OURS) -> Iterator[Row | RowFault]:
    """What a file says."""
    options = ReadOptions(private_key=pair.private)
    return reader(None, file[:4096]).read(io.BytesIO(file), options)

"""The keyring: AES-256-GCM envelopes around secrets, and signatures for what browsers carry.

An envelope is ``version (1 byte) | length of kid (1 byte) | kid | nonce (12 bytes) | ciphertext and tag``. It is
bound by its additional data to exactly one place: tenant, owner, grant, field, generation and key id. Moved
anywhere else, it does not open.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from itsdangerous import URLSafeTimedSerializer

from broker.clock import steady
from broker.errors import ConfigurationError, SealBroken, StoreUnavailable

_VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
_DERIVED_KEYS_CACHED = 8192
_LENGTHS = struct.Struct(">5I")


class Place(NamedTuple):
    """Where a sealed secret belongs. Every part is authenticated."""

    tenant: str
    owner: str
    """The id of the connection or session; each owner's secrets are sealed under a key of their own."""
    grant: str
    field: str
    generation: int


def _length_prefixed(*parts: bytes) -> bytes:
    # Without lengths, ("ab", "c") and ("a", "bc") would authenticate the same.
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def _root(key: bytes) -> bytes:
    # HKDF's first half (RFC 5869 §2.2), once for all that is derived. The key is uniformly random: no salt is needed.
    return hmac.digest(bytes(hashes.SHA256.digest_size), key, "sha256")


def _derive(root: bytes, purpose: str, *context: str) -> bytes:
    # HKDF's second half: info separates purposes (RFC 5869 §3.2).
    info = _length_prefixed(b"broker/v1", purpose.encode(), *(part.encode() for part in context))
    return HKDFExpand(algorithm=hashes.SHA256(), length=_KEY_BYTES, info=info).derive(root)


class Keyring:
    """The keys in force. Reads with every key, writes with one."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """``keys`` are ``(kid, 32 random bytes)``; the first one writes until :meth:`write_with` says otherwise.

        :raises ConfigurationError: no key, a doubled kid, or a key that is not 32 bytes long.
        """
        faults = [f"encryption key {kid!r} is not 32 bytes long" for kid, key in keys if len(key) != _KEY_BYTES]
        if not keys or len({kid for kid, _ in keys}) != len(keys):
            faults.append("encryption keys: at least one is needed, and each needs a key id of its own")
        if faults:
            raise ConfigurationError(faults)
        self._roots = {kid: _root(key) for kid, key in keys}
        self._writer = keys[0][0]
        self._believed_until: float | None = None
        # One for each (key, owner): deriving costs several times what sealing costs. The key and not its cipher: that
        # takes 2.4 KB, which would be 20 MB of them all, and making one costs no more than a microsecond.
        self._owners_key = lru_cache(_DERIVED_KEYS_CACHED)(self._derive_owners_key)
        self._serializers: dict[str, URLSafeTimedSerializer] = {}

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._roots)}; writes {self._writer})"

    @property
    def writer(self) -> str:
        """The key id that new envelopes carry."""
        return self._writer

    @property
    def first(self) -> str:
        """The key id that stands first: the one that whoever wrote the ring wants to write."""
        return next(iter(self._roots))

    def believe_until(self, moment: float) -> None:
        """Seal only until ``moment`` (steady seconds), unless it is put off again.

        A process that hears nothing of the store for too long may have missed that another key writes, and that its own
        is needed by nobody any more.
        """
        self._believed_until = moment

    def write_with(self, kid: str) -> None:
        """Seal with ``kid`` from now on.

        :raises ConfigurationError: the ring has no such key.
        """
        if kid not in self._roots:
            raise ConfigurationError([f"the store's writing key {kid!r} is not in BROKER_ENCRYPTION_KEYS"])
        self._writer = kid
        for purpose, serializer in self._serializers.items():
            # In place: they were handed out. Signed with the old key, a value would mean nothing to a replica that was
            # started without it, as all may be once a rotation is over.
            serializer.secret_keys[:] = self._signing_keys(purpose)

    def fingerprints(self) -> Mapping[str, str]:
        """Key id → a value that tells whether two rings hold the same key under it, and nothing else of the key."""
        # An HKDF output reveals nothing about its input key nor about outputs for other purposes.
        return {kid: _derive(root, "fingerprint").hex()[:32] for kid, root in self._roots.items()}

    def marks(self, purpose: str, message: bytes) -> list[bytes]:
        """64 bytes that stand for ``message`` and tell nothing of it: under each key, the one that writes first.

        For finding again what was seen before, also after another key writes. Without the ring nobody can try guesses.
        """
        # HMAC under a key of its own per purpose: a pseudorandom function, whatever the message is.
        writer_first = sorted(self._roots, key=lambda kid: kid != self._writer)
        return [hmac.digest(_derive(self._roots[kid], "mark", purpose), message, "sha512") for kid in writer_first]

    def seal(self, place: Place, plaintext: bytes) -> bytes:
        """``plaintext`` sealed for exactly this place.

        :raises StoreUnavailable: see :meth:`believe_until`.
        """
        if self._believed_until is not None and steady() > self._believed_until:
            raise StoreUnavailable("for too long nothing was heard of which key writes")
        return self._seal(self._writer, place, plaintext)

    def _seal(self, kid: str, place: Place, plaintext: bytes) -> bytes:
        # Random 96-bit nonces are safe below 2^32 messages per key; a key here seals for one owner only.
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(kid, place.owner).encrypt(nonce, plaintext, _additional_data(place, kid))
        return bytes((_VERSION, len(kid))) + kid.encode() + nonce + sealed

    def open(self, place: Place, envelope: bytes) -> bytes:
        """What :meth:`seal` sealed for this place.

        :raises SealBroken: another format, an unknown key id, a changed byte, or another place.
        """
        kid = key_of(envelope)
        if kid not in self._roots:
            raise SealBroken("a stored secret is sealed with a key that is not in BROKER_ENCRYPTION_KEYS")
        kid_end = 2 + envelope[1]
        nonce, sealed = envelope[kid_end : kid_end + _NONCE_BYTES], envelope[kid_end + _NONCE_BYTES :]
        try:
            return self._cipher(kid, place.owner).decrypt(nonce, sealed, _additional_data(place, kid))
        except (InvalidTag, ValueError):
            raise SealBroken(f"the stored {place.field} of {place.owner} fails authentication") from None

    def rewrap(self, place: Place, envelope: bytes, kid: str) -> bytes:
        """The secret of an envelope, sealed anew for the same place with the key ``kid``.

        :raises SealBroken: as :meth:`open`.
        """
        return self._seal(kid, place, self.open(place, envelope))

    def serializer(self, purpose: str) -> URLSafeTimedSerializer:
        """A signer for values that pass through a browser or a caller, one key per purpose.

        It signs with the key that writes at the time, and accepts what any key of the ring signed.
        """
        if purpose not in self._serializers:
            # The library's default digest is SHA-1, so ours is named.
            self._serializers[purpose] = URLSafeTimedSerializer(
                self._signing_keys(purpose),
                salt=purpose,
                signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
            )
        return self._serializers[purpose]

    def _signing_keys(self, purpose: str) -> list[bytes]:
        # itsdangerous signs with the last key and accepts all.
        writer_last = sorted(self._roots, key=lambda kid: kid == self._writer)
        return [_derive(self._roots[kid], "sign", purpose) for kid in writer_last]

    def _cipher(self, kid: str, owner: str) -> AESGCM:
        return AESGCM(self._owners_key(kid, owner))

    def _derive_owners_key(self, kid: str, owner: str) -> bytes:
        return _derive(self._roots[kid], "seal", owner)


def key_of(envelope: bytes) -> str:
    """The id of the key that an envelope says it is sealed with.

    :raises SealBroken: it is none, or of another format.
    """
    if len(envelope) < 2 or envelope[0] != _VERSION:
        raise SealBroken("a stored secret has an unknown format")
    return envelope[2 : 2 + envelope[1]].decode("ascii", "replace")


def _additional_data(place: Place, kid: str) -> bytes:
    tenant, owner, grant, field, generation = place
    # Lengths in front, as in _length_prefixed: no two places authenticate the same.
    lengths = _LENGTHS.pack(len(tenant), len(owner), len(grant), len(field), len(kid))
    return lengths + generation.to_bytes(8, "big") + f"{tenant}{owner}{grant}{field}{kid}".encode()

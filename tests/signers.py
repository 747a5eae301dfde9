"""Who signs: clients with keys of their own, platforms that vouch for their programs, and forgers."""

import base64
import hmac
import json
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from broker.models.ids import new_id
from tests.world import PUBLIC_URL, FakeClock

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

KEYS: dict[str, RSAKey | ECKey | OKPKey] = {
    "RSA": RSAKey.generate_key(2048),
    "P-256": ECKey.generate_key("P-256"),
    "P-384": ECKey.generate_key("P-384"),
    "P-521": ECKey.generate_key("P-521"),
    "Ed25519": OKPKey.generate_key("Ed25519"),
}
"""One key of each kind, made once: an RSA key takes its time."""

KIND_OF = {"RS": "RSA", "PS": "RSA", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "Ed": "Ed25519"}
"""How an algorithm's name starts, and the key that it needs."""

ABSENT = object()
"""In place of a claim or header that shall not be there."""


def encoded(part: Any) -> str:
    """One part of a compact token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(
    key: RSAKey | ECKey | OKPKey | bytes | None, algorithm: str, header: dict[str, Any] | bytes, claims: Any
) -> str:
    """A token, signed with ``algorithm`` whatever its header says; without a key, not at all."""
    text = f"{encoded(header)}.{encoded(claims)}"
    if key is None:
        return f"{text}."
    if isinstance(key, bytes):
        # By hand, for the library refuses to make an HMAC with a public key.
        return f"{text}.{encoded(hmac.digest(key, text.encode(), f'sha{algorithm[2:]}'))}"
    return f"{text}.{encoded(JWSRegistry.algorithms[algorithm].sign(text.encode(), key))}"


class Signer:
    """Somebody with a key, by default on P-256."""

    def __init__(
        self, clock: FakeClock, kind: str = "P-256", algorithm: str = "ES256", kid: str | None = "one"
    ) -> None:
        self.clock = clock
        self.key = KEYS[kind]
        self.algorithm = algorithm
        self.kid = kid

    @classmethod
    def for_algorithm(cls, clock: FakeClock, algorithm: str) -> "Signer":
        """Somebody with a key for ``algorithm``."""
        [kind] = [kind for start, kind in KIND_OF.items() if algorithm.startswith(start)]
        return cls(clock, kind, algorithm)

    def renewed(self, kid: str) -> "Signer":
        """The same one with another key."""
        other = Signer(self.clock, algorithm="ES256", kid=kid)
        other.key = ECKey.generate_key("P-256")
        return other

    @property
    def public_key(self) -> dict[str, Any]:
        """The public half."""
        named = {} if self.kid is None else {"kid": self.kid}
        return {**self.key.as_dict(private=False), **named}

    @property
    def jwks(self) -> dict[str, Any]:
        """A set of this one key."""
        return {"keys": [self.public_key]}

    @property
    def now(self) -> int:
        """The present, in seconds."""
        return self.clock() // 1000

    def sign(self, claims: Any, **header: Any) -> str:
        """A token with these claims."""
        usual = {"alg": self.algorithm, "typ": "JWT", **({} if self.kid is None else {"kid": self.kid})}
        return signed(self.key, self.algorithm, present({**usual, **header}), claims)

    def claims(self, client_id: str, **claims: Any) -> dict[str, Any]:
        """The claims of a client's good assertion, with ``claims`` over the usual."""
        usual = {
            "iss": client_id,
            "sub": client_id,
            "aud": PUBLIC_URL,
            "iat": self.now,
            "exp": self.now + 60,
            "jti": new_id("jti"),
        }
        return present({**usual, **claims})

    def assertion(self, client_id: str, **claims: Any) -> str:
        """A client's assertion."""
        return self.sign(self.claims(client_id, **claims))


def present(members: dict[str, Any]) -> dict[str, Any]:
    """What is not absent."""
    return {name: value for name, value in members.items() if value is not ABSENT}


def proof(assertion: str, client_id: str | None = None) -> dict[str, str]:
    """The parameters that carry an assertion (RFC 7521 §4.2)."""
    named = {} if client_id is None else {"client_id": client_id}
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, **named}

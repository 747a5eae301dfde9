"""Platforms that vouch for the programs that run on them."""

from typing import Any

from tests.signers import ABSENT, Signer, present
from tests.upstream.practice_server import PracticeServer, json_answer
from tests.world import FakeClock

OPENID = "/.well-known/openid-configuration"
SUBJECT = "system:serviceaccount:shop:checkout"
AUDIENCE = "https://broker.shop.example"


class Platform:
    """Signs tokens for the programs that run on it, and publishes its keys."""

    def __init__(self, server: PracticeServer, clock: FakeClock) -> None:
        self.server = server
        self.signer = Signer(clock, "RSA", "RS256", kid="platform-1")
        self.issuer = server.origin
        self.publish()

    def publish(self, **document: Any) -> None:
        """Metadata as a cluster has them: no endpoint but that of the keys."""
        usual = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.server.origin}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        self.server.answers[OPENID] = json_answer({**usual, **document})
        self.server.answers["/openid/v1/jwks"] = json_answer(self.signer.jwks)

    def workload(self, **more: Any) -> dict[str, Any]:
        """What is registered of one program."""
        return {"issuer": self.issuer, "subject": SUBJECT, "audience": AUDIENCE, **more}

    def claims(self, **claims: Any) -> dict[str, Any]:
        """The claims of a projected service account token, with ``claims`` over the usual."""
        now = self.signer.now
        usual = {
            "aud": [AUDIENCE],
            "exp": now + 3600,
            "iat": now,
            "nbf": now,
            "iss": self.issuer,
            "sub": SUBJECT,
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "checkout", "uid": "0b7e"}},
        }
        return present({**usual, **claims})

    def token(self, **claims: Any) -> str:
        """A token; like a cluster's, without a type."""
        return self.signer.sign(self.claims(**claims), typ=ABSENT)

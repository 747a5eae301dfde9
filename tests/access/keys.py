"""Key pairs for tests: the public half to register, the private half to sign with."""

from typing import Any

from joserfc.jwk import ECKey

SIGNING = ECKey.generate_key("P-256", {"kid": "one"})
"""A client's key pair."""


def public_set(*keys: ECKey) -> dict[str, Any]:
    """A JWK Set of the keys' public halves."""
    return {"keys": [{**key.as_dict(private=False), "kid": key.kid} for key in keys or (SIGNING,)]}

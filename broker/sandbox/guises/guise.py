"""A description, and what has come of it: clients, grants and tokens of its own, what was asked, what was refused."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from broker.sandbox.accounts import Account
from broker.sandbox.behaviour import Behaviour, RevocationEnds, Rotation
from broker.sandbox.clients import Client
from broker.sandbox.guises.description import Description, Token
from broker.sandbox.provider import Provider

_FOR_EVER: Final = 10**9
_MOST_REFUSALS: Final = 100


@dataclass(frozen=True, slots=True)
class Consent:
    """An authorization request that waits for a person."""

    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    challenge: str


class Guise:
    """One provider that is played. ``origin``: where its addresses begin, instead of ``https:/``."""

    def __init__(self, name: str, description: Description, *, around: Provider) -> None:
        app = description.app
        self.name = name
        self.description = description
        self.path = f"/as/{name}"
        self.origin = f"{around.issuer}{self.path}"
        self.provider = Provider(
            issuer=self.origin,
            clients=[Client(app.client_id, app.client_secret)],
            behaviour=_behaviour(description),
            clock=around.clock,
        )
        self.provider.keys.app_keys = [app.public_key] if app.public_key else []
        self.provider.keys.service_accounts = {
            email: dict(keys) for email, keys in description.service_accounts.items()
        }
        self.account = Account(str(description.account.id), description.account.name or "nobody in particular")
        self.asked: Counter[str] = Counter()
        self.refusals: deque[str] = deque(maxlen=_MOST_REFUSALS)
        self.granted: deque[tuple[str, ...]] = deque(maxlen=_MOST_REFUSALS)
        """The scopes of what people allowed, as this provider read them."""
        self.revoked: deque[str] = deque(maxlen=_MOST_REFUSALS)
        """Which kind of token was given back."""
        self.waiting: dict[str, Consent] = {}
        """By form token."""

    def values(self, **more: JsonValue) -> Mapping[str, JsonValue]:
        """What templates may speak of."""
        account = self.description.account
        known: dict[str, JsonValue] = {"origin": self.origin, "client_id": self.description.app.client_id}
        return {**known, "account_id": account.id, "account_name": account.name, **more}

    def as_json(self) -> dict[str, object]:
        """What was asked, allowed, given back, and refused and why; no secrets."""
        return {
            "asked": dict(self.asked),
            "granted": [list(scopes) for scopes in self.granted],
            "revoked": list(self.revoked),
            "refusals": list(self.refusals),
        }


def _behaviour(description: Description) -> Behaviour:
    token, device, revoke = description.token, description.device, description.revoke
    refresh = token.refresh if token else None
    by_account = revoke is not None and revoke.ends == "account"
    return Behaviour(
        rotation=refresh.rotation if refresh else Rotation.NONE,
        grace=refresh.grace if refresh else 0,
        access_token_ttl=_lifetime(token),
        revocation_ends=RevocationEnds.ACCOUNT if by_account else RevocationEnds.GRANT,
        device_interval=device.interval if device else 5,
        device_code_ttl=device.lives if device else 900,
    )


def _lifetime(token: Token | None) -> int:
    return _FOR_EVER if token is None or token.lives is None else token.lives

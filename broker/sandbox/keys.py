"""The credentials of people and programs that come without OAuth: who holds which. Pure state; no HTTP in it.

The two first accounts have one of each kind from the start, under the values below, so that whoever tries something out
has something to type in; ``make`` gives an account one more. Which of them are refused, and what they may do, the
behaviour in force says.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from broker.sandbox.accounts import PEOPLE, Account, person

Kind = Literal["api_key", "basic", "custom", "aws_sigv4", "github_app", "google_service_account"]
"""What ``make`` makes; named as a provider's ``type`` at the broker."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

API_KEYS: Final[Mapping[str, Account]] = {
    "pk_practice_alice_0001": PEOPLE[0],
    "pk_practice_bob_00001": PEOPLE[1],
}
PASSWORDS: Final[Mapping[tuple[str, str], Account]] = {
    ("alice@practice.example", "practice-password-alice"): PEOPLE[0],
    ("bob@practice.example", "practice-password-bob"): PEOPLE[1],
}
"""By user name and password; an account may have several, as where each program gets one of its own."""
SIGNING_KEYS: Final[Mapping[str, tuple[str, Account]]] = {
    "sk_alice": ("practice-signing-secret-alice", PEOPLE[0]),
    "sk_bob": ("practice-signing-secret-bob", PEOPLE[1]),
}
AWS_KEYS: Final[Mapping[str, tuple[str, Account]]] = {
    "AKIAPRACTICEALICE001": ("practice/secret+access+key/of/alice+0001", PEOPLE[0]),
    "AKIAPRACTICEBOB00001": ("practice/secret+access+key/of/bob+++0001", PEOPLE[1]),
}
INSTALLATIONS: Final[Mapping[str, Account]] = {"1001": PEOPLE[0], "1002": PEOPLE[1]}
"""Where the practice app is installed."""
APP: Final = "practice-app"
"""The client id of the practice app; its private keys are made when asked for, as its public keys are all that stay."""
_EMAIL_OF_MACHINES: Final = "{name}@practice.iam.example"


@dataclass(slots=True)
class AwsKey:
    """A secret access key; a temporary one has a session token that is sent along."""

    secret: str = field(repr=False)
    account: Account
    session_token: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Keys:
    """Everything that was handed out."""

    api_keys: dict[str, Account] = field(default_factory=lambda: {**API_KEYS})
    passwords: dict[tuple[str, str], Account] = field(default_factory=lambda: {**PASSWORDS})
    signing_keys: dict[str, tuple[str, Account]] = field(default_factory=lambda: {**SIGNING_KEYS})
    aws_keys: dict[str, AwsKey] = field(
        default_factory=lambda: {name: AwsKey(secret, account) for name, (secret, account) in AWS_KEYS.items()}
    )
    installations: dict[str, Account] = field(default_factory=lambda: {**INSTALLATIONS})
    app_keys: list[str] = field(default_factory=list)
    """Public keys of the app (PEM): each of them may sign."""
    service_accounts: dict[str, dict[str, str]] = field(default_factory=dict)
    """E-mail address → key id → public key (PEM)."""
    nonces: set[str] = field(default_factory=set)
    """Of signed requests; each is taken once."""

    def make(self, kind: Kind, account: Account, *, token_endpoint: str) -> dict[str, object]:
        """One more credential of ``account``, as it is handed in at the broker."""
        name = secrets.token_hex(8)
        match kind:
            case "api_key":
                key = f"pk_{name}_{secrets.token_hex(8)}"
                self.api_keys[key] = account
                return {"api_key": key}
            case "basic":
                username, password = account.email or account.sub, f"password-{name}"
                self.passwords[username, password] = account
                return {"username": username, "password": password}
            case "custom":
                self.signing_keys[f"sk_{name}"] = (secret := secrets.token_hex(24), account)
                return {"key_id": f"sk_{name}", "secret": secret}
            case "aws_sigv4":
                return self._temporary(account)
            case "github_app":
                private_key, public_key = _key_pair()
                self.app_keys.append(public_key)
                installation = next(each for each, owner in self.installations.items() if owner == account)
                return {"client_id": APP, "private_key": private_key, "installation_id": installation}
            case "google_service_account":
                return self._key_file(_EMAIL_OF_MACHINES.format(name=f"robot-{name}"), name, token_endpoint)

    def _temporary(self, account: Account) -> dict[str, object]:
        key = AwsKey(secrets.token_hex(20), account, session_token=secrets.token_hex(40))
        name = f"ASIA{secrets.token_hex(8).upper()}"
        self.aws_keys[name] = key
        return {"access_key_id": name, "secret_access_key": key.secret, "session_token": key.session_token}

    def _key_file(self, email: str, key_id: str, token_endpoint: str) -> dict[str, object]:
        """The members of a service account's key file, those included that nobody needs."""
        private_key, public_key = _key_pair()
        self.service_accounts.setdefault(email, {})[key_id] = public_key
        return {
            "type": "service_account",
            "project_id": "practice",
            "private_key_id": key_id,
            "private_key": private_key,
            "client_email": email,
            "client_id": str(secrets.randbelow(10**20)),
            "token_uri": token_endpoint,
        }


def owner(email: object) -> Account | None:
    """The account for whom something is made: the first one, where nobody says."""
    if email is None:
        return PEOPLE[0]
    return person(email) if isinstance(email, str) else None


def rfc3339(seconds: float) -> str:
    """A moment as answers spell it."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def _key_pair() -> tuple[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private_pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private_pem.decode(), public_pem.decode()

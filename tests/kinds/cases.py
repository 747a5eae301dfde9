"""One case per way in which a credential travels: the entry of tests/providers.yaml, what opens it and what doesn't."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.world import ServiceClient

ALICE_KEY = "pk_practice_alice_0001"
BOB_KEY = "pk_practice_bob_00001"
ALICE = {"id": "usr_1001", "name": "alice@practice.example"}


@dataclass(frozen=True, slots=True)
class Case:
    """What a service hands in."""

    provider: str
    good: Mapping[str, Any]
    wrong: Mapping[str, Any]
    """Looks right, and the provider refuses it."""
    malformed: Mapping[str, Any]
    """Can be seen to be wrong."""
    fault: str
    """The field that is named then."""
    token: str | None = None
    """The field that is handed out as the access token; ``None``: there is no token."""
    canaries: tuple[str, ...] = field(default=(), repr=False)
    """What no answer may repeat but that of the token itself."""

    def __str__(self) -> str:
        return self.provider


def _key(provider: str) -> Case:
    wrong = "pk_practice_nobody_0001"
    return Case(
        provider,
        {"api_key": ALICE_KEY},
        {"api_key": wrong},
        {"api_key": "AKIAPRACTICEALICE001"},
        "credentials.api_key",
        token="api_key",
        canaries=(ALICE_KEY, wrong),
    )


CASES = (
    _key("practice-key"),
    _key("practice-key-query"),
    _key("practice-key-prefix"),
    _key("practice-bearer"),
    Case(
        "practice-basic",
        {"username": "alice@practice.example", "password": "practice-password-alice"},
        {"username": "alice@practice.example", "password": "practice-password-bob"},
        {"username": "alice@practice.example"},
        "credentials.password",
        canaries=("practice-password-alice", "practice-password-bob"),
    ),
    Case(
        "practice-custom",
        {"key_id": "sk_alice", "secret": "practice-signing-secret-alice"},
        {"key_id": "sk_alice", "secret": "practice-signing-secret-bob"},
        {"key_id": "SK-ALICE", "secret": "practice-signing-secret-alice"},
        "credentials.key_id",
        canaries=("practice-signing-secret-alice", "practice-signing-secret-bob"),
    ),
    Case(
        "practice-aws",
        {"access_key_id": "AKIAPRACTICEALICE001", "secret_access_key": "practice/secret+access+key/of/alice+0001"},
        {"access_key_id": "AKIAPRACTICEALICE001", "secret_access_key": "practice/secret+access+key/of/bob+++0001"},
        {"access_key_id": "AKIAPRACTICEALICE001", "secret_access_key": "practice\nsecret"},
        "credentials.secret_access_key",
        canaries=("practice/secret+access+key/of/alice+0001", "practice/secret+access+key/of/bob+++0001"),
    ),
)
"""Those whose credential is used as it was handed in."""


def made_by(sandbox: httpx2.Client, kind: str, **asked: str) -> dict[str, Any]:
    """One more credential of that kind, made by the practice provider."""
    made: dict[str, Any] = sandbox.post("/control/keys", json={"kind": kind, **asked}).raise_for_status().json()
    return made


async def create(app: ServiceClient, provider: str, credentials: Mapping[str, Any], **body: Any) -> httpx2.Response:
    """``POST /v1/connections``."""
    order = {"provider": provider, "subject": "ann", "credentials": dict(credentials), **body}
    return await app.call("POST", "/v1/connections", order)


async def created(app: ServiceClient, provider: str, credentials: Mapping[str, Any], **body: Any) -> dict[str, Any]:
    """A connection that must be made."""
    answer = await create(app, provider, credentials, **body)
    assert answer.status_code == 201, answer.text
    connection: dict[str, Any] = answer.json()
    return connection

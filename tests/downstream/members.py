"""Clients by each way in which one can prove who it is: what the access matrix calls a grant."""

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from broker.access.clients import Clients
from broker.models.access import CLIENT_SCOPES, Workload
from tests.signers import ABSENT, Signer, proof
from tests.world import REFERENCE_TYPE, RETURN_URL, TOKEN_EXCHANGE, FakeClock

PLATFORM: Final = "https://platform.example"

MakeMember = Callable[..., Awaitable["Member"]]
"""The ``make_member`` fixture."""


@dataclass(frozen=True)
class Proof:
    """What of a request says who sends it."""

    form: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Member:
    """A registered client that proves itself in one way."""

    def __init__(self, http: httpx2.AsyncClient, client_id: str, prove: Callable[[], Proof]) -> None:
        self.http = http
        self.client_id = client_id
        self._prove = prove
        self.token = ""

    async def post(self, path: str, **form: str) -> httpx2.Response:
        """A call of the OAuth face."""
        proven = self._prove()
        return await self.http.post(path, data={**form, **proven.form}, headers=dict(proven.headers))

    async def sign_in(self, scope: str | None = None) -> None:
        """Get a broker token: with all that the client has, or narrowed to ``scope``."""
        narrowed = {} if scope is None else {"scope": scope}
        answer = await self.post("/oauth/token", grant_type="client_credentials", **narrowed)
        self.token = answer.raise_for_status().json()["access_token"]

    async def call(self, method: str, path: str, json: Any = None) -> httpx2.Response:
        """A call of the JSON face, with the broker token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.http.request(method, path, json=json, headers=headers)

    async def redeem(self, reference: str) -> httpx2.Response:
        """Exchange a reference (RFC 8693)."""
        parameters = {"subject_token": reference, "subject_token_type": REFERENCE_TYPE}
        return await self.post("/oauth/token", grant_type=TOKEN_EXCHANGE, **parameters)

    async def introspect(self, token: str) -> httpx2.Response:
        """Ask what a token is worth (RFC 7662)."""
        return await self.post("/oauth/introspect", token=token)

    async def revoke(self, token: str) -> httpx2.Response:
        """Take a token back (RFC 7009)."""
        return await self.post("/oauth/revoke", token=token)


Grant = Callable[[FakeClock], tuple[Mapping[str, Any], Callable[[str, str], Proof]]]
"""What is registered for a client, and how it then proves its id and secret."""


def _basic(_clock: FakeClock) -> tuple[Mapping[str, Any], Callable[[str, str], Proof]]:
    def prove(client_id: str, secret: str) -> Proof:
        encoded = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        return Proof(headers={"Authorization": f"Basic {encoded}"})

    return {}, prove


def _post(_clock: FakeClock) -> tuple[Mapping[str, Any], Callable[[str, str], Proof]]:
    return {}, lambda client_id, secret: Proof({"client_id": client_id, "client_secret": secret})


def _private_key(clock: FakeClock) -> tuple[Mapping[str, Any], Callable[[str, str], Proof]]:
    signer = Signer(clock)
    return {"jwks": signer.jwks}, lambda client_id, _secret: Proof(proof(signer.assertion(client_id)))


def _workload(clock: FakeClock) -> tuple[Mapping[str, Any], Callable[[str, str], Proof]]:
    signer = Signer(clock)

    def prove(client_id: str, _secret: str) -> Proof:
        claims = {"iss": PLATFORM, "sub": "shop", "aud": ["broker"], "iat": signer.now, "exp": signer.now + 3600}
        return Proof(proof(signer.sign(claims, typ=ABSENT), client_id))

    return {"workloads": [Workload(PLATFORM, "shop", "broker", signer.jwks)]}, prove


GRANTS: Final[Mapping[str, Grant]] = {
    "client_secret_basic": _basic,
    "client_secret_post": _post,
    "private_key_jwt": _private_key,
    "workload": _workload,
}


async def register(
    http: httpx2.AsyncClient,
    clients: Clients,
    clock: FakeClock,
    grant: str,
    *,
    scopes: tuple[str, ...] = CLIENT_SCOPES,
    tenant: str = "default",
    providers: tuple[str, ...] | None = None,
) -> Member:
    """A client that proves itself by ``grant``, signed in with all that it has."""
    registered, prove = GRANTS[grant](clock)
    client, secret = await clients.create(
        grant, scopes=scopes, tenant=tenant, providers=providers, return_urls=(RETURN_URL,), **registered
    )
    member = Member(http, client.client_id, lambda: prove(client.client_id, secret))
    await member.sign_in()
    return member

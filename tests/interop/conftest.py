"""A broker as it runs in production, and services that know nothing of it but its address and who they are."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from broker.models.access import CLIENT_SCOPES
from tests.processes import broker_environment, broker_process

METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
"""How a service of ``service`` authenticates."""

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
WORKLOAD = {
    "issuer": "https://platform.example",
    "subject": "system:serviceaccount:shop:checkout",
    "audience": "broker",
}


@dataclass(frozen=True)
class Service:
    """What the operator gave a service's developer."""

    issuer: str
    client_id: str
    method: str
    secret: str = ""
    key: ECKey | None = None


@dataclass(frozen=True)
class Live:
    """A running broker, its practice provider, and the operator's shell."""

    url: str
    provider: str
    environ: Mapping[str, str]
    folder: Path

    def register(self, name: str, *options: str, scopes: Iterable[str] = CLIENT_SCOPES) -> Any:
        """``broker clients create``, with every scope unless said otherwise; answers what it printed."""
        command = [sys.executable, "-m", "broker.cli.main", "clients", "create", name, "--scope", " ".join(scopes)]
        command += [*options, "--json"]
        return json.loads(subprocess.check_output(command, env=self.environ, cwd=self.folder))

    def public_half(self, key: ECKey | RSAKey) -> Path:
        """A file with what may be known of ``key``."""
        file = self.folder / f"{key.kid}.json"
        file.write_text(json.dumps(key.as_dict(private=False)))
        return file


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, sandbox_url: str) -> Iterator[Live]:
    """``broker serve`` with two workers."""
    folder = tmp_path_factory.mktemp("interop")
    environ = broker_environment(folder, {"PRACTICE": sandbox_url, "BROKER_WORKERS": "2"})
    with broker_process(environ, quick=True) as url:
        yield Live(url, sandbox_url, environ, folder)


@pytest.fixture(scope="session")
def with_secret(live: Live) -> Any:
    """A client that keeps a secret."""
    return live.register("with a secret")


@pytest.fixture(scope="session")
def own_key() -> ECKey:
    """What a service signs with."""
    return ECKey.generate_key("P-256", {"kid": "own", "alg": "ES256"})


@pytest.fixture(scope="session")
def with_key(live: Live, own_key: ECKey) -> Any:
    """A client that has a key of its own and no secret."""
    return live.register("with a key", "--jwks-file", str(live.public_half(own_key)))


@pytest.fixture(params=METHODS)
def service(request: pytest.FixtureRequest, live: Live) -> Service:
    """A service, by each way in which it can authenticate."""
    if request.param == "private_key_jwt":
        client = request.getfixturevalue("with_key")
        return Service(live.url, client["client_id"], request.param, key=request.getfixturevalue("own_key"))
    client = request.getfixturevalue("with_secret")
    return Service(live.url, client["client_id"], request.param, client["client_secret"])


@pytest.fixture(scope="session")
def platform_key() -> RSAKey:
    """What a platform signs with."""
    return RSAKey.generate_key(2048, {"kid": "platform", "alg": "RS256"})


@pytest.fixture(scope="session")
def workload(live: Live, platform_key: RSAKey) -> Service:
    """A program that its platform vouches for: it has neither secret nor key."""
    parts = {**WORKLOAD, "jwks_file": live.public_half(platform_key)}
    client = live.register("a workload", "--workload", ",".join(f"{name}={text}" for name, text in parts.items()))
    return Service(live.url, client["client_id"], "workload")


@pytest.fixture
def platform_token(platform_key: RSAKey) -> str:
    """What the platform put into the program's file system: as a Kubernetes cluster does, for an hour."""
    now = int(time.time())
    claims = {"iss": WORKLOAD["issuer"], "sub": WORKLOAD["subject"], "aud": [WORKLOAD["audience"]]}
    return jwt.encode({"alg": "RS256", "kid": "platform"}, {**claims, "iat": now, "exp": now + 3600}, platform_key)


@pytest.fixture
def other_app(live: Live, with_secret: Any) -> Iterator[httpx2.Client]:
    """The backend that connects accounts and gives out references, with its broker token."""
    with httpx2.Client(base_url=live.url, trust_env=False) as http:
        auth = (with_secret["client_id"], with_secret["client_secret"])
        answer = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
        http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        yield http


@pytest.fixture
def connection_id(other_app: httpx2.Client) -> str:
    """A connection that its services may use."""
    body = {"provider": "practice", "subject": "ann", "credentials": {}}
    return str(other_app.post("/v1/connections", json=body).raise_for_status().json()["id"])


@pytest.fixture
def reference(other_app: httpx2.Client, connection_id: str, service: Service) -> str:
    """A reference to it that ``service`` can redeem once."""
    answer = other_app.post(f"/v1/connections/{connection_id}/references", json={"audience": service.client_id})
    return str(answer.raise_for_status().json()["reference"])


def opens(live: Live, access_token: str) -> bool:
    """Whether the provider's API takes the token."""
    headers = {"Authorization": f"Bearer {access_token}"}
    return httpx2.get(f"{live.provider}/api/messages", headers=headers, trust_env=False).status_code == 200

"""Machines log in by libraries that aren't ours: requests-oauth2client, and oauth4webapi in Node.

Each polls as it sees fit; the person is a browser that knows nothing of them. Both ways: through a provider that has a
device grant itself, and through the broker's own page.
"""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from requests_oauth2client import (
    DeviceAuthorizationPollingJob,
    InvalidGrant,
    OAuth2Client,
)

from broker.models.access import CONNECTION_SCOPES
from tests.cli.browser import approve
from tests.interop.conftest import Live, Service, opens
from tests.interop.node import FOLDER, node

PROVIDERS = ("practice", "practice-native")
EXCHANGE = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture(scope="session")
def public_client(live: Live) -> str:
    """The id of a client that keeps no secret; the operator has given it to everybody."""
    return str(live.register("laptops", "--device", "--public", scopes=CONNECTION_SCOPES)["client_id"])


@pytest.fixture
def machine(live: Live, public_client: str) -> Service:
    """A machine of the public client."""
    return Service(live.url, public_client, "none")


@pytest.fixture(autouse=True)
def one_second(sandbox: httpx2.Client) -> None:
    """The practice provider's own codes may be asked about each second."""
    sandbox.post("/control", json={"device_interval": 1}).raise_for_status()


def agree(live: Live, provider: str, shown: dict[str, Any]) -> None:
    """The person goes where the machine says."""
    if provider == "practice":
        assert shown["verification_uri"] == f"{live.url}/device"
        assert "log the device out" in approve(live.url, shown["user_code"]).text
    else:
        assert shown["verification_uri"].startswith(live.provider)
        httpx2.post(
            f"{live.provider}/control", json={"approve_device": shown["user_code"]}, trust_env=False
        ).raise_for_status()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_python_library_logs_a_machine_in(live: Live, public_client: str, provider: str) -> None:
    """requests-oauth2client: its own polling job, refresh, and logout."""
    found = httpx2.get(f"{live.url}/.well-known/oauth-authorization-server", trust_env=False).json()
    client = OAuth2Client(
        found["token_endpoint"],
        client_id=public_client,
        device_authorization_endpoint=found["device_authorization_endpoint"],
        revocation_endpoint=found["revocation_endpoint"],
        testing=True,
    )
    codes = client.authorize_device(provider=provider, scope="tokens:read")
    job = DeviceAuthorizationPollingJob(client, codes.device_code, interval=codes.interval)
    assert job() is None
    agree(live, provider, {"verification_uri": codes.verification_uri, "user_code": codes.user_code})
    with ThreadPoolExecutor(1) as thread:
        token = thread.submit(_until_collected, job).result(timeout=60)
    assert token.scope == "tokens:read"
    renewed = client.refresh_token(token)
    assert renewed.refresh_token != token.refresh_token
    released = client.token_exchange(subject_token=renewed.access_token, subject_token_type=EXCHANGE)
    assert opens(live, released.access_token)
    assert client.revoke_refresh_token(renewed)
    with pytest.raises(InvalidGrant):
        client.refresh_token(renewed)


def _until_collected(job: DeviceAuthorizationPollingJob) -> Any:
    token = None
    while token is None:
        token = job()
    return token


@pytest.mark.node
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_javascript_library_logs_a_machine_in(live: Live, machine: Service, provider: str) -> None:
    """oauth4webapi, which is strict about every answer: the codes, each state, both grants, and the logout."""
    program = node()
    assert program, "no Node on this machine"
    environ = {
        "ISSUER": machine.issuer,
        "CLIENT_ID": machine.client_id,
        "METHOD": "none",
        "PROVIDER": provider,
        "API": f"{live.provider}/api/messages",
    }
    command = [program, str(FOLDER / "log_in.mjs")]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as script:
        assert script.stdout
        assert script.stderr
        line = script.stdout.readline()
        assert line, script.stderr.read()
        agree(live, provider, json.loads(line))
        out, errors = script.communicate(timeout=60)
    assert script.returncode == 0, errors
    result = json.loads(out)
    assert set(result["states"]) <= {"authorization_pending"}
    assert result["first"]["connection_id"] == result["second"]["connection_id"]
    assert result["first"]["refresh_token"] != result["second"]["refresh_token"]
    assert result["opened"] == 200
    assert result["after"] == "invalid_grant"

"""oauth4webapi, run by Node, does what a service does: another language, another author, and strict about answers."""

import json
import subprocess
from typing import Any

import pytest
from joserfc.jwk import ECKey

from tests.interop.conftest import Live, Service, opens
from tests.interop.node import FOLDER, node

pytestmark = pytest.mark.node


def _run(script: str, service: Service, **more: str) -> "subprocess.CompletedProcess[str]":
    """A script as ``service``, with nothing else of this machine in its environment."""
    program = node()
    assert program, "no Node on this machine"
    environ = {"ISSUER": service.issuer, "CLIENT_ID": service.client_id, "METHOD": service.method, **more}
    if service.secret:
        environ["CLIENT_SECRET"] = service.secret
    if service.key:
        environ["CLIENT_KEY"] = json.dumps(service.key.as_dict(private=True))
    command = [program, str(FOLDER / f"{script}.mjs")]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def _result(script: str, service: Service, **more: str) -> Any:
    """What a script that went well has printed."""
    ran = _run(script, service, **more)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_it_finds_the_endpoints_gets_a_token_and_calls_the_api(
    service: Service, live: Live, connection_id: str
) -> None:
    """Metadata by RFC 8414, client credentials by RFC 6749 §4.4, the bearer token by RFC 6750."""
    result = _result("call_the_api", service, CONNECTION_ID=connection_id)
    assert result["scope"] == "tokens:read"
    assert opens(live, result["accessToken"])


def test_it_redeems_a_reference(service: Service, live: Live, reference: str) -> None:
    """Token exchange by RFC 8693; what comes out works at the provider, what is spent is an error it understands."""
    token = _result("redeem", service, REFERENCE=reference)
    assert token["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert token["expires_in"] > 0
    assert opens(live, token["access_token"])
    again = _run("redeem", service, REFERENCE=reference)
    assert again.returncode == 1
    assert "error: 'invalid_request'" in again.stderr


def test_it_introspects_and_revokes(service: Service, reference: str, connection_id: str) -> None:
    """RFC 7662 and RFC 7009, of a reference and of its own broker token."""
    broker_token = _result("call_the_api", service, CONNECTION_ID=connection_id)["brokerToken"]
    for token in (reference, broker_token):
        seen = _result("introspect_and_revoke", service, TOKEN=token)
        assert seen["before"]["active"] is True
        assert seen["before"]["iss"] == service.issuer
        assert seen["after"] == {"active": False}


def test_it_is_told_that_its_proof_is_wrong(service: Service, connection_id: str) -> None:
    """RFC 6749 §5.2: ``invalid_client``, or the challenge that goes with the header it tried."""
    forged = ECKey.generate_key("P-256", {"kid": "own"}) if service.key else None
    wrong = Service(service.issuer, service.client_id, service.method, "wrong", forged)
    ran = _run("call_the_api", wrong, CONNECTION_ID=connection_id)
    assert ran.returncode == 1
    expected = "scheme: 'basic'" if service.method == "client_secret_basic" else "error: 'invalid_client'"
    assert expected in ran.stderr
    assert "status: 401" in ran.stderr


def test_a_workload_authenticates_with_what_its_platform_signed(
    workload: Service, platform_token: str, live: Live, connection_id: str
) -> None:
    """No secret anywhere; the same token proves the program as often as it is shown."""
    for _ in range(2):
        result = _result("call_the_api", workload, PLATFORM_TOKEN=platform_token, CONNECTION_ID=connection_id)
        assert opens(live, result["accessToken"])

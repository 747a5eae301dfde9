"""The compose file: what is published, who may do what, which secrets reach whom."""

import re
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from broker.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


@each_service
def test_a_container_has_no_privileges_and_a_read_only_file_system(service: dict[str, Any]) -> None:
    """No capability but the one the proxy's binary can't start without, and none can be gained."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if service is SERVICES["proxy"] else [])
    assert "privileged" not in service


@each_service
def test_an_image_is_built_here_or_pinned(service: dict[str, Any]) -> None:
    """Nothing changes under a running deployment: full versions, never `latest`."""
    if "build" in service:
        assert (DEPLOY / service["build"]["context"] / "Dockerfile").is_file()
    else:
        assert re.fullmatch(r"[\w/]+:\d+\.\d+\.\d+-alpine", service["image"])


@each_service
def test_a_service_says_how_it_is(service: dict[str, Any]) -> None:
    """Each has a health check (the broker its image's); who needs another waits until it is healthy."""
    assert "healthcheck" in service or "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    assert "healthcheck" in service or "build" in service
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}


def test_only_the_proxy_is_published() -> None:
    """Neither the store nor the broker's plain HTTP can be reached from outside."""
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "proxy": ["443:443"]
    }
    assert not any("network_mode" in service for service in SERVICES.values())


def test_the_store_is_out_of_the_proxys_reach() -> None:
    """The proxy and the store share no network, and the store's has no way out."""
    assert set(SERVICES["proxy"]["networks"]) & set(SERVICES["valkey"]["networks"]) == set()
    assert [COMPOSE["networks"][name]["internal"] for name in SERVICES["valkey"]["networks"]] == [True]


def test_the_broker_accepts_its_environment(secrets: Path) -> None:
    """Every variable is a setting with a good value; it trusts the network it shares with the proxy only."""
    environment = {
        variable: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value).replace("/run/secrets", str(secrets))
        for variable, value in SERVICES["broker"]["environment"].items()
    }
    settings = load_settings(environment, env_file=None)
    assert settings.public_url == "https://localhost"
    assert settings.redis_url is not None
    assert urlsplit(settings.redis_url.get_secret_value()).hostname in SERVICES
    assert settings.encryption_keys is not None
    (subnet,) = COMPOSE["networks"]["edge"]["ipam"]["config"]
    assert settings.trusted_proxies == (ip_network(subnet["subnet"]),)


def test_no_secret_stands_in_a_containers_description() -> None:
    """What is secret is given as the path of a mounted file, never as a variable's value."""
    broker = SERVICES["broker"]
    paths = {value for variable, value in broker["environment"].items() if variable.endswith("_FILE")}
    assert paths == {f"/run/secrets/{name}" for name in broker["secrets"]}
    secret = {"BROKER_ENCRYPTION_KEYS", "BROKER_REDIS_URL", "BROKER_CLIENT_SECRET"}
    assert not any(secret & set(service.get("environment", {})) for service in SERVICES.values())


def test_a_secret_reaches_only_who_needs_it() -> None:
    """The store never sees the encryption keys, the proxy sees no secret at all."""
    given = {name: service["secrets"] for name, service in SERVICES.items() if "secrets" in service}
    assert given == {"broker": ["encryption_keys", "redis_url"], "valkey": ["valkey_acl"]}
    assert set(COMPOSE["secrets"]) == {name for names in given.values() for name in names}


@each_service
def test_mounts_from_the_repository_exist_and_are_read_only(service: dict[str, Any]) -> None:
    """A missing file would be made as a directory by the engine; a named volume is declared."""
    for mount in service["volumes"]:
        source, _, rest = mount.partition(":")
        if source.startswith("."):
            assert (DEPLOY / source).is_file(), source
            assert rest.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", ["providers.env", *(secret["file"] for secret in COMPOSE["secrets"].values())])
def test_git_never_sees_what_is_secret(name: str) -> None:
    """The files that hold secrets are ignored where they lie."""
    command = ["git", "-c", "safe.directory=*", "check-ignore", "--quiet", f"deploy/{name}"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_the_proxy_keeps_operators_pages_inside() -> None:
    """Metrics and readiness are not answered to the internet; everything else goes to the broker."""
    lines = [line.strip() for line in (DEPLOY / "Caddyfile").read_text().splitlines()]
    assert "{$BROKER_PUBLIC_URL} {" in lines
    assert "@inside path /metrics* /readyz*" in lines
    assert "respond @inside 404" in lines
    assert "reverse_proxy broker:8400" in lines

"""``quirks.yaml`` read: per entry how its provider behaves, and what else a test of it has to know."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from broker.providers import Provider, Registry, load_providers

SHIPPED = Path(__file__).parents[2] / "providers.yaml"
_QUIRKS = Path(__file__).parent / "quirks.yaml"
_ADDRESSES = ("issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint")
_OF_THE_APP = {"CLIENT_ID": "practice-client", "CLIENT_SECRET": "practice-secret"}


@dataclass(frozen=True, slots=True)
class Quirks:
    """What is known of one provider."""

    description: dict[str, Any]
    """What the practice provider is told (``broker.sandbox.guises.description``)."""
    calls: str = ""
    """A path of the provider's API, below the entry's ``base_url``."""
    variables: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    handed_in: Sequence[Mapping[str, str]] = ()
    """A credential that is good, and some that are refused."""
    granted: tuple[str, ...] | None = None
    """What the provider says that a credential may do which was handed in; ``None``: it says nothing."""
    scopes: tuple[str, ...] | None = None
    """What to ask for; ``None``: every scope of the entry."""

    def part(self, name: str) -> dict[str, Any]:
        """A part of the description; empty where the provider has nothing of the kind."""
        part: dict[str, Any] = self.description.get(name) or {}
        return part

    @property
    def refresh(self) -> dict[str, Any] | None:
        """What the provider does with refresh tokens; ``None``: it has none."""
        rule: dict[str, Any] | None = self.part("token").get("refresh")
        return rule

    @property
    def account(self) -> dict[str, str | None]:
        """How a connection names the account."""
        account = self.description["account"]
        return {"id": str(account["id"]), "name": account["name"]}


@cache
def known() -> Mapping[str, Quirks]:
    """All that are described, by the names of their entries."""
    document = _with_keys(yaml.safe_load(_QUIRKS.read_text()))
    return {name: Quirks(about.pop("as"), **about) for name, about in document.items() if not name.startswith("_")}


def _with_keys(value: Any) -> Any:
    """``value`` with key pairs where names of ours stand: they are made anew each time, and stand in no file."""
    match value:
        case dict():
            return {name: _with_keys(each) for name, each in value.items()}
        case list():
            return [_with_keys(each) for each in value]
        case "PRIVATE KEY":
            return key_pair()[0]
        case "PUBLIC KEY":
            return key_pair()[1]
        case "SOMEBODY'S KEY":
            return key_pair("somebody's")[0]
    return value


@cache
def key_pair(_whose: str = "ours") -> tuple[str, str]:
    """A private and a public key (PEM)."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private_pem.decode(), public_pem.decode()


def described(name: str) -> Quirks:
    """The quirks of an entry; an entry without any is at fault."""
    assert name in known(), f"how {name} behaves has to be described in {_QUIRKS.name}"
    return known()[name]


def names() -> list[str]:
    """Every entry that is shipped."""
    return [provider.name for provider in load_providers(SHIPPED, {})]


def moved(origin: str) -> Registry:
    """The shipped entries with their variables set, and their addresses, nothing else, at the practice provider."""
    unset = {name for provider in load_providers(SHIPPED, {}) for name in provider.missing_variables}
    told = {name: value for quirks in known().values() for name, value in quirks.variables.items()}
    told |= {name: _of_the_app(name) for name in unset - told.keys()}
    return Registry(_at(provider, f"{origin}/as/{provider.name}") for provider in load_providers(SHIPPED, told))


def _of_the_app(variable: str) -> str:
    for ending, value in _OF_THE_APP.items():
        if variable.endswith(ending):
            return value
    raise AssertionError(f"what {variable} stands for has to be said in {_QUIRKS.name}, under variables")


def _at(provider: Provider, origin: str) -> Provider:
    moved: dict[str, object] = {name: _there(getattr(provider, name), origin) for name in _ADDRESSES}
    for section, key in (("revocation", "endpoint"), ("identity", "url"), ("api", "base_url")):
        part = getattr(provider, section)
        if part is not None:
            moved[section] = part.model_copy(update={key: _there(getattr(part, key), origin)})
    return provider.model_copy(update=moved)


def _there(address: str | None, origin: str) -> str | None:
    """``https://host/path`` → ``{origin}/host/path``."""
    return None if address is None else re.sub(r"^https:/", origin, address)


def path_of(address: str) -> str:
    """What stands behind the origin of a moved address."""
    return urlsplit(address).path.split("/", 3)[3]

"""The frozen ``Settings``: what can be set, its types and its defaults."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from broker.settings.values import (
    Network,
    Retention,
    parse_hosts,
    parse_keys,
    parse_networks,
    parse_retention,
    store_address,
    upper,
    web_address,
)

PREFIX = "BROKER_"


def _default_log_format() -> Literal["console", "json"]:
    return "console" if sys.stderr.isatty() else "json"


class Settings(BaseModel):
    """What the operator decided. Each attribute is the variable ``BROKER_<NAME>``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65_535)
    """0 lets the system choose."""
    public_url: Annotated[str, AfterValidator(web_address)] = Field(
        default_factory=lambda data: f"http://localhost:{data.get('port', 8400)}"
    )
    """Where browsers and clients reach the broker: https unless loopback, without a trailing slash."""
    providers_file: Path = Path("providers.yaml")
    redis_url: Annotated[SecretStr, AfterValidator(store_address)] | None = None
    """The external store: a server, sentinels or a Cluster (may hold a password); ``None`` = the embedded one in
    ``data_dir``."""
    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=lambda: platformdirs.user_data_path("broker")
    )
    encryption_keys: Annotated[tuple[tuple[str, bytes], ...] | None, BeforeValidator(parse_keys)] = Field(
        default=None, repr=False, exclude=True
    )
    """``(kid, 32 bytes)``, the first one writes; ``None``: the embedded store's own, in ``data_dir``."""
    workers: int = Field(default=1, ge=1)
    background_enabled: bool = True
    """Whether this process also refreshes ahead, tests idle credentials, moves audit events and retries revocations."""
    egress_allow: Annotated[tuple[str | Network, ...], BeforeValidator(parse_hosts)] = ()
    """Private hosts and networks that user-supplied or discovered addresses may reach all the same."""
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(parse_networks)] = ()
    """Whose forwarded address counts."""
    events_retention: Annotated[Retention, BeforeValidator(parse_retention)] = Retention(90 * 86_400_000, 1_000_000)
    events_sink: str = Field(default="none", pattern=r"^(none|stdout|file:.+)$")
    store_wait_replicas: int = Field(default=0, ge=0)
    """How many replicas must hold a token commit for it to be confirmed, besides the store's append-only file."""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(upper)] = "INFO"
    log_format: Literal["console", "json"] = Field(default_factory=_default_log_format)
    """Defaults to ``console`` where stderr is a terminal, else ``json``."""

    url: Annotated[str, AfterValidator(web_address)] | None = None
    """The broker that remote commands talk to, and below as which client."""
    client_id: str | None = None
    client_secret: SecretStr | None = None

    @property
    def issuer(self) -> str:
        """The broker's issuer identifier (RFC 8414 §2): the public URL without a trailing slash."""
        return self.public_url

    @property
    def secure(self) -> bool:
        """Whether browsers reach the broker over https, so that cookies may be ``Secure`` and ``__Host-``."""
        return self.public_url.startswith("https://")

    @property
    def origin(self) -> str:
        """The public URL's origin (RFC 6454 §6.1): scheme, host and port."""
        return "/".join(self.public_url.split("/", 3)[:3])

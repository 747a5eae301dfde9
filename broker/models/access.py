"""Who calls, and how far their reach goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from broker.errors import Forbidden

CLIENT_SCOPES: Final = (
    "connect",
    "connections:read",
    "connections:write",
    "tokens:read",
    "references:issue",
    "references:redeem",
    "proxy",
    "events:read",
    "admin",
)
"""Every scope a client of the broker can hold."""

CONNECTION_SCOPES: Final = (
    "connections:read",
    "connections:write",
    "tokens:read",
    "references:issue",
    "references:redeem",
    "proxy",
    "events:read",
)
"""Those that mean something to a broker token bound to one connection: what a machine that logged in can hold."""

DEFAULT_TENANT: Final = "default"
"""The tenant that is written into a client made without ``--tenant``; never assumed for a record without one."""
LONGEST_TENANT: Final = 100


def fault_of_tenant(tenant: str) -> str | None:
    """What is wrong with the name of a tenant; ``None``: nothing."""
    if 0 < len(tenant) <= LONGEST_TENANT and tenant.isprintable() and tenant.strip() == tenant:
        return None
    return f"1 to {LONGEST_TENANT} printable characters, no space at either end"


@dataclass(frozen=True, slots=True)
class Reach:
    """Which connections a client can touch: those of its tenant, at the providers it was given."""

    tenant: str
    providers: frozenset[str] | None
    """``None`` = every provider."""
    connection_id: str | None = None
    """The one connection, where it is just one: a machine that logged in reaches nothing else."""
    allow: tuple[str, ...] | None = None
    """The requests to a connection's API that the client may make (``access.allow``); ``None`` = every request. Where
    there is a list, nothing is handed out that could be put on other requests."""

    def covers(self, tenant: str, provider: str) -> bool:
        """Whether a connection of ``tenant`` at ``provider`` lies within. An empty tenant never does."""
        return bool(tenant) and tenant == self.tenant and self.covers_provider(provider)

    def covers_provider(self, provider: str) -> bool:
        """Whether the client was given ``provider``."""
        return self.providers is None or provider in self.providers

    def leads_to(self, connection_id: str) -> bool:
        """Whether the client was given this connection, or is not held to one."""
        return self.connection_id in {None, connection_id}

    def permit_handing_out(self) -> None:
        """Return if the client may be handed what a request can be made with.

        :raises Forbidden: it is held to certain requests; a credential in its own hands would go around that.
        """
        if self.allow is not None:
            raise Forbidden("the client has an allow list, so it is handed no credentials; the proxy is there for it")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client, with what its present broker token (or secret) allows."""

    client_id: str
    scopes: frozenset[str]
    reach: Reach
    ends_at: int | None = None
    """When the token that it came with ends (ms)."""

    @property
    def tenant(self) -> str:
        """The one tenant the client is in."""
        return self.reach.tenant


@dataclass(frozen=True, slots=True)
class Workload:
    """A program that its platform vouches for: the platform's signed token stands for it, so it keeps no secret.

    Issuer, audience and subject are compared as they are, character by character.
    """

    issuer: str
    subject: str
    audience: str
    jwks: Mapping[str, Any] | None = None
    """The issuer's keys (RFC 7517 §5), where they were registered; ``None``: they are found by its metadata."""


@dataclass(frozen=True, slots=True)
class Client:
    """A downstream service registered with the broker: an OAuth client of ours."""

    client_id: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    providers: tuple[str, ...] | None
    """``None`` = every provider."""
    secret_digests: tuple[str, ...]
    return_urls: tuple[str, ...]
    completions: tuple[str, ...]
    """Completions the client is registered for besides ``app`` and ``code``: empty, or ``("browser",)``."""
    created_at: int
    secret_ends: Mapping[str, int] = field(default_factory=dict)
    """Digest → when that secret stops working (ms): a predecessor, while programs move to its successor."""
    jwks: Mapping[str, Any] | None = None
    """The client's own public keys (RFC 7517 §5), for ``private_key_jwt``."""
    jwks_uri: str | None = None
    """Where they are published instead (RFC 7591 §2)."""
    workloads: tuple[Workload, ...] = ()
    """Whose platform tokens stand for this client."""
    device: bool = False
    """Whether machines may log in through it (RFC 8628)."""
    public: bool = False
    """It can't keep a secret, so it has none and proves nothing: a program that many people install."""
    tokens_from: int = 0
    """When its broker tokens were ended last (ms): what proved it may have leaked by then. A token carries the one that
    it was issued under, so that no two clocks are compared, and none slips through that is issued meanwhile."""
    allow: tuple[str, ...] | None = None
    """The only requests to providers' APIs that it may make, through the proxy; ``None`` = every request."""

    @property
    def authentication(self) -> tuple[str, ...]:
        """How it can prove itself: ``client_secret``, ``private_key_jwt``, ``workload``; not at all: ``none``."""
        ways = {
            "client_secret": bool(self.secret_digests),
            "private_key_jwt": self.jwks is not None or self.jwks_uri is not None,
            "workload": bool(self.workloads),
            "none": self.public,
        }
        return tuple(way for way, given in ways.items() if given)

    def honours(self, tokens_from: int) -> bool:
        """Whether a broker token that was issued under ``tokens_from`` still counts."""
        return tokens_from >= self.tokens_from

    @property
    def reach(self) -> Reach:
        """The connections this client can touch."""
        providers = None if self.providers is None else frozenset(self.providers)
        return Reach(self.tenant, providers, allow=self.allow)

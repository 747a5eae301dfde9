"""A machine that logs in: the attempt (device authorization, RFC 8628), and what it is afterwards (device session)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DeviceMode(StrEnum):
    """Whose page takes the user code."""

    NATIVE = "native"
    """The provider's: it has a device grant of its own."""
    BRIDGE = "bridge"
    """The broker's, which sends the person through the browser flow."""


class DeviceStatus(StrEnum):
    """Where an attempt stands. Its end by time is no status of its own: see ``expires_at``."""

    PENDING = "pending"
    AUTHORIZING = "authorizing"
    """A browser is at the provider for it."""
    REDEEMING = "redeeming"
    """The provider said yes; the connection is being made."""
    APPROVED = "approved"
    """The connection is there; the machine can collect its login."""
    DENIED = "denied"
    SPENT = "spent"
    """The machine has collected its login."""


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """One attempt of a machine to log in. Secrets are digests here. Times in milliseconds since the epoch."""

    id: str
    tenant: str
    client_id: str
    client_name: str
    provider: str
    mode: DeviceMode
    scopes: tuple[str, ...]
    """Provider scopes."""
    broker_scopes: tuple[str, ...]
    """What the machine's broker token will be able to do."""
    created_at: int
    expires_at: int
    device_code_digest: str
    connection_id: str
    """Drawn for the connection that it leads to; anew at each approval on our page."""
    status: DeviceStatus = DeviceStatus.PENDING
    user_code: str = field(default="", repr=False)
    """Of our own page (bridge), without its hyphen."""
    subject: str = ""
    """Whose the connection will be; empty: derived from the account at the provider."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    """Where the request came from."""
    device_name: str | None = None
    """How the machine calls itself."""
    session_id: str = ""
    """The connect session whose browser is at the provider for it (bridge)."""
    redeeming_until: int = 0
    """When whoever redeems the provider's yes counts as dead (bridge): then the code can be entered again."""
    tokens_from: int = 0
    """The client's, as it was read when the machine asked."""
    interval: int = 5
    """Seconds that have to pass between two polls."""
    handle_digest: str = ""
    """Of the secret in the address of the person's page about the machine, once they have approved (bridge)."""
    reason: str = ""
    """Why it was denied, if the person didn't."""

    def settled(self, now: int) -> bool:
        """Whether there is nothing to wait for any more at ``now`` (ms): the machine can be told."""
        waits = {DeviceStatus.PENDING, DeviceStatus.AUTHORIZING, DeviceStatus.REDEEMING}
        return self.status not in waits or now >= self.expires_at

    @property
    def owns_connection(self) -> bool:
        """Whether the connection is there for logins alone: nobody but the machine ordered it for a subject."""
        return not self.subject


@dataclass(frozen=True, slots=True)
class DeviceSession:
    """A machine that is logged in with a connection. Times in milliseconds since the epoch."""

    id: str
    connection_id: str
    tenant: str
    client_id: str
    scopes: tuple[str, ...]
    """Client scopes that its broker tokens hold at most."""
    created_at: int
    expires_at: int
    """When it ends by itself, unless it is used before."""
    last_used_at: int
    device_name: str | None = None
    address: str = ""
    """Where it logged in from."""
    tokens_from: int = 0
    """The client's, as it stood at the login."""
    handle_digest: str = ""
    """Of the secret in the address of the person's page about it."""
    token_digest: str = ""
    """Of its present refresh token."""

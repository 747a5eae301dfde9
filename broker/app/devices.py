"""The parts of device login, composed: a machine asks, a person approves, the machine collects, and lives on."""

import asyncio
from dataclasses import dataclass

from broker.access.device_sessions import DeviceSessions
from broker.access.tokens import BrokerTokens
from broker.clock import Clock
from broker.connections.announcing import Announcements
from broker.connections.authorization import Authorizations
from broker.connections.completion import Completions
from broker.connections.device_approval import DeviceApprovals
from broker.connections.device_life import DeviceLife
from broker.connections.device_poll import DevicePolls
from broker.connections.device_request import DeviceRequests
from broker.connections.journey import Journey
from broker.connections.lifecycle import Lifecycle
from broker.connections.managed_devices import ManagedDevices
from broker.connections.opening import Opening
from broker.providers import Registry
from broker.upstream.facade import Upstream
from broker.vault.device_authorizations import StoredDeviceAuthorizations
from broker.vault.device_sessions import StoredDeviceSessions
from broker.vault.keyring import Keyring
from broker.vault.records import Records
from broker.vault.redis.store import Store


@dataclass(frozen=True, slots=True)
class Devices:
    """What the faces call, in the order of a login."""

    requests: DeviceRequests
    approvals: DeviceApprovals
    managed: ManagedDevices
    polls: DevicePolls
    sessions: DeviceSessions
    life: DeviceLife

    async def drain(self, seconds: float) -> int:
        """Let what is under way at providers finish; answers how much did not within ``seconds``."""
        return sum(await asyncio.gather(self.approvals.drain(seconds), self.polls.drain(seconds)))


def build_devices(
    *,
    store: Store,
    keyring: Keyring,
    tokens: BrokerTokens,
    records: Records,
    opening: Opening,
    journey: Journey,
    completions: Completions,
    authorizations: Authorizations,
    announcements: Announcements,
    lifecycle: Lifecycle,
    upstream: Upstream,
    providers: Registry,
    clock: Clock,
    public_url: str,
) -> Devices:
    """Compose. Opens nothing."""
    stored, stored_sessions = StoredDeviceAuthorizations(store, keyring), StoredDeviceSessions(store)
    life = DeviceLife(stored_sessions, records, lifecycle, clock)
    return Devices(
        requests=DeviceRequests(stored, upstream, clock, public_url),
        approvals=DeviceApprovals(stored, life, opening, journey, completions, providers, clock),
        managed=ManagedDevices(stored, life, clock),
        polls=DevicePolls(stored, life, records, authorizations, announcements, upstream, providers, clock),
        sessions=DeviceSessions(stored_sessions, tokens, records, clock),
        life=life,
    )

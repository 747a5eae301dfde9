"""Everything below the faces, composed: settings → store, providers, access, connections."""

import asyncio
from dataclasses import dataclass
from typing import cast

import structlog

from broker.access.assertions import Assertions
from broker.access.authentication import Authenticator
from broker.access.clients import Clients
from broker.access.key_rules import PublicKey, usable_keys
from broker.access.limits import Limits
from broker.access.references import References
from broker.access.tokens import BrokerTokens
from broker.app.devices import Devices, build_devices
from broker.clock import Clock, system_clock
from broker.connections.announcing import Announcements
from broker.connections.api_calls import ApiCalls
from broker.connections.arrival import Arrivals
from broker.connections.attempt import Attempts
from broker.connections.authorization import Authorizations
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.changes import Changes
from broker.connections.command_bookkeeping import CommandBookkeeping
from broker.connections.commits import Commits
from broker.connections.completion import Completions
from broker.connections.durability import Durability
from broker.connections.giving_back import GivingBack
from broker.connections.handed_in import HandedIn
from broker.connections.intake import Intake
from broker.connections.journey import Journey
from broker.connections.lifecycle import Lifecycle
from broker.connections.moving.engine import Moving, build_moving
from broker.connections.obtaining import Obtaining
from broker.connections.opening import Opening
from broker.connections.refresh import Refresher
from broker.connections.submission import Submissions
from broker.connections.tokens import Tokens
from broker.connections.turns import Turns
from broker.errors import ConfigurationError
from broker.observe.sink import Sink
from broker.providers import Registry
from broker.settings import Settings
from broker.settings.values import parse_keys
from broker.upstream.egress import Egress
from broker.upstream.facade import Upstream
from broker.upstream.key_sets import KeySets
from broker.vault.admission import Admission
from broker.vault.counters import Counters
from broker.vault.device_sessions import StoredDeviceSessions
from broker.vault.directory import Directory
from broker.vault.documents import Documents
from broker.vault.due import DueWork
from broker.vault.journal import Journal
from broker.vault.keyring import Keyring
from broker.vault.leases import Leases
from broker.vault.opening import open_store
from broker.vault.parked import Parked
from broker.vault.records import Records
from broker.vault.redis.data_dir import ensure_keys, store_url
from broker.vault.redis.store import Store
from broker.vault.references import StoredReferences
from broker.vault.release import Releases
from broker.vault.repeats import StoredRepeats
from broker.vault.replicas import Replicas
from broker.vault.revocations import Revocations
from broker.vault.sessions import Sessions
from broker.vault.siblings import Siblings
from broker.vault.spent import SpentIds
from broker.vault.typed import StoredTyped

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Heart:
    """The parts that the faces and the commands call."""

    settings: Settings
    clock: Clock
    store: Store
    keyring: Keyring
    replicas: Replicas
    providers: Registry
    upstream: Upstream
    key_sets: KeySets[tuple[PublicKey, ...]]
    records: Records
    leases: Leases
    parked: Parked
    directory: Directory
    due: DueWork
    revocations: Revocations
    journal: Journal
    bookkeeping: Bookkeeping
    clients: Clients
    broker_tokens: BrokerTokens
    limits: Limits
    references: References
    authenticator: Authenticator
    opening: Opening
    journey: Journey
    arrivals: Arrivals
    submissions: Submissions
    completions: Completions
    devices: Devices
    tokens: Tokens
    api_calls: ApiCalls
    turns: Turns
    refresher: Refresher
    durability: Durability
    giving_back: GivingBack
    intake: Intake
    changes: Changes
    lifecycle: Lifecycle
    repeats: StoredRepeats
    moving: Moving

    async def aclose(self, *, work_ends_within: float) -> None:
        """Let refreshes and exchanges finish, for at most so many seconds, then let go of provider and store."""
        # At the same time, so that all of it ends by one moment: whoever ends this process waits no longer.
        until = asyncio.get_running_loop().time() + work_ends_within
        unfinished = await asyncio.gather(
            *(work.drain(work_ends_within) for work in (self.refresher, self.completions, self.devices))
        )
        await self.api_calls.drain(max(0.0, until - asyncio.get_running_loop().time()))
        # After them: what they commit in the end has to be confirmed, too.
        left = max(0.0, until - asyncio.get_running_loop().time())
        unfinished.append(await self.durability.drain(left))
        if any(unfinished):
            log.warning(
                "work.unfinished",
                refreshes=unfinished[0],
                exchanges=unfinished[1],
                device_logins=unfinished[2],
                unconfirmed=unfinished[3],
                seconds=work_ends_within,
            )
        await self.key_sets.aclose()
        await self.upstream.aclose()
        # Not before: a refresh that was under way has sealed with the key that this process said it writes with.
        await self.replicas.sign_off()
        await self.store.aclose()


def build_heart(
    settings: Settings, providers: Registry, clock: Clock = system_clock, *, for_command: bool = False
) -> Heart:
    """Compose. Opens nothing yet: the store connects when it is first used.

    :param for_command: for one of the operator's, which leaves the moving of events to the broker that runs.
    :raises ConfigurationError: there are no usable encryption keys.
    """
    keyring = _keyring(settings)
    store = open_store(_store_url(settings), keyring, wait_replicas=settings.store_wait_replicas)
    egress = Egress(allow=settings.egress_allow)
    upstream = Upstream(egress, clock)
    key_sets = KeySets(egress, clock, usable_keys)
    records, sessions, documents = Records(store, keyring), Sessions(store, keyring), Documents(store)
    siblings, revocations = Siblings(store), Revocations(store, keyring)
    retention = settings.events_retention
    journal = Journal(store, keep_milliseconds=retention.milliseconds, keep_events=retention.events)
    limits = Limits(Counters(store))
    clients, broker_tokens = Clients(documents, clock), BrokerTokens(documents, StoredDeviceSessions(store), clock)
    assertions = Assertions(clients, key_sets, SpentIds(store), clock, settings.issuer)
    leases, parked = Leases(store), Parked(store, keyring)
    durability = Durability(records, clock)
    turns = Turns(Admission(store), clock)
    typed = StoredTyped(store, keyring)
    journey = Journey(sessions, typed, upstream, clock, settings.public_url)
    authorizations = Authorizations(records, durability, upstream, clock)
    giving_back = GivingBack(records, siblings, revocations, upstream, providers, clock)
    commits = Commits(records, parked, durability, upstream, clock)
    obtaining = Obtaining(records, parked, upstream, turns, clock)
    attempts = Attempts(records, obtaining, commits, upstream, clock)
    refresher = Refresher(records, leases, attempts, upstream, providers, clock)
    opening, announcements = Opening(sessions, providers, clock), Announcements(siblings, upstream, clock)
    intake = Intake(records, authorizations, upstream, clock)
    handed_in, arrivals = HandedIn(typed, intake), Arrivals(sessions, journey, providers, clock)
    completions = Completions(
        sessions,
        records,
        announcements,
        journey,
        authorizations,
        handed_in,
        upstream,
        providers,
        clock,
        settings.public_url,
    )
    lifecycle = Lifecycle(records, parked, siblings, revocations, giving_back, refresher, upstream, providers, clock)
    devices = build_devices(
        store=store,
        keyring=keyring,
        tokens=broker_tokens,
        records=records,
        opening=opening,
        journey=journey,
        completions=completions,
        authorizations=authorizations,
        announcements=announcements,
        lifecycle=lifecycle,
        upstream=upstream,
        providers=providers,
        clock=clock,
        public_url=settings.public_url,
    )
    changes = Changes(records, intake, providers, clock)
    replicas = Replicas(store, keyring)
    kept = (journal, records, Sink(settings.events_sink), clock)
    bookkeeping = CommandBookkeeping(*kept, replicas) if for_command else Bookkeeping(*kept)
    tokens = Tokens(Releases(store, keyring), records, refresher, providers, clock)
    return Heart(
        settings=settings,
        clock=clock,
        store=store,
        keyring=keyring,
        replicas=replicas,
        providers=providers,
        upstream=upstream,
        key_sets=key_sets,
        records=records,
        leases=leases,
        parked=parked,
        directory=Directory(store, records),
        due=DueWork(store),
        revocations=revocations,
        journal=journal,
        bookkeeping=bookkeeping,
        clients=clients,
        broker_tokens=broker_tokens,
        limits=limits,
        references=References(StoredReferences(store), clients, clock),
        authenticator=Authenticator(limits, clients, assertions, broker_tokens, clock),
        opening=opening,
        journey=journey,
        arrivals=arrivals,
        submissions=Submissions(sessions, typed, records, journey, arrivals, intake),
        completions=completions,
        devices=devices,
        tokens=tokens,
        api_calls=ApiCalls(tokens, lifecycle, upstream, providers, clock),
        turns=turns,
        refresher=refresher,
        durability=durability,
        giving_back=giving_back,
        intake=intake,
        changes=changes,
        lifecycle=lifecycle,
        repeats=StoredRepeats(store, keyring),
        moving=build_moving(
            store=store,
            keyring=keyring,
            records=records,
            parked=parked,
            siblings=siblings,
            journal=journal,
            bookkeeping=bookkeeping,
            intake=intake,
            changes=changes,
            authorizations=authorizations,
            upstream=upstream,
            turns=turns,
            providers=providers,
            clock=clock,
        ),
    )


def _keyring(settings: Settings) -> Keyring:
    if settings.encryption_keys is not None:
        return Keyring(settings.encryption_keys)
    try:
        own = parse_keys(ensure_keys(settings.data_dir))
    except ValueError as error:
        raise ConfigurationError([f"{settings.data_dir}/encryption_keys {error}"]) from None
    return Keyring(cast("tuple[tuple[str, bytes], ...]", own))


def _store_url(settings: Settings) -> str:
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return store_url(settings.data_dir)

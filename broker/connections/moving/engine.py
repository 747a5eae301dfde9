"""The parts that move connections in, put together."""

from dataclasses import dataclass

from broker.clock import Clock
from broker.connections.authorization import Authorizations
from broker.connections.bookkeeping import Bookkeeping
from broker.connections.changes import Changes
from broker.connections.intake import Intake
from broker.connections.moving.imports import Imports
from broker.connections.moving.judging import Judge
from broker.connections.moving.lease import Holding
from broker.connections.moving.publishing import Publishing
from broker.connections.moving.rollback import Rollbacks
from broker.connections.moving.storing import Storing
from broker.connections.moving.undoing import Undoing
from broker.connections.moving.verifying import Verifying
from broker.connections.turns import Turns
from broker.providers import Registry
from broker.upstream.facade import Upstream
from broker.vault.batches import Batches
from broker.vault.journal import Journal
from broker.vault.keyring import Keyring
from broker.vault.parked import Parked
from broker.vault.records import Records
from broker.vault.redis.store import Store
from broker.vault.siblings import Siblings
from broker.vault.staged import Staged


@dataclass(frozen=True, slots=True)
class Moving:
    """Moves connections in."""

    batches: Batches
    imports: Imports
    publishing: Publishing
    rollbacks: Rollbacks
    undoing: Undoing


def build_moving(
    *,
    store: Store,
    keyring: Keyring,
    records: Records,
    parked: Parked,
    siblings: Siblings,
    journal: Journal,
    bookkeeping: Bookkeeping,
    intake: Intake,
    changes: Changes,
    authorizations: Authorizations,
    upstream: Upstream,
    turns: Turns,
    providers: Registry,
    clock: Clock,
) -> Moving:
    """Compose."""
    batches, staged, holding = Batches(store, keyring), Staged(store, keyring), Holding(store)
    publishing = Publishing(batches, staged, records, journal, bookkeeping, holding, clock)
    judge = Judge(intake, providers, clock)
    verifying = Verifying(intake, authorizations, upstream, turns, clock)
    return Moving(
        batches=batches,
        imports=Imports(
            batches,
            staged,
            judge,
            Storing(batches, staged, parked, judge, verifying, clock),
            publishing,
            holding,
            clock,
        ),
        publishing=publishing,
        rollbacks=Rollbacks(batches, staged, records, siblings, journal, bookkeeping, holding, clock),
        undoing=Undoing(store, records, changes, clock),
    )

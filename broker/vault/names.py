"""The names of keys in the store. The layout is a contract with data at rest: it can be added to, not changed.

Everything of a connection shares the hash tag ``{bucket}``: one Cluster slot, so one script can read the record,
spend a reference and write the audit event together. A client lies in a bucket for the same reason. A connect session
is a slot of its own, and so is the gate of a provider's endpoint. What belongs to neither (broker tokens, indexes, the
journal) lives wherever its key hashes to.

What lasts grows with use, not with time. For ever there are the keyring, clients and their list. With the first
connection come, and with the last one go, the indexes and what is due; with the first event an outbox, which goes when
that has moved on. A record goes when its connection has ended and its time is over, and takes along what stands under
its name. Everything else is written together with its end.
"""

import base64
import hashlib

from broker.models.ids import BUCKETS, bucket_of

PREFIX = "broker:"
KEYRING = f"{PREFIX}keyring"
REPLICAS = f"{PREFIX}{{{KEYRING}}}:replicas"
"""Hash: the processes that live. Its hash tag is the keyring's whole name: one slot, so one script sees both."""
CLIENTS = f"{PREFIX}clients"
BATCHES = f"{PREFIX}batches"
"""Sorted set: the imports by when they were begun (ms)."""
EXPORTS = f"{PREFIX}exports"
"""Sorted set: the exports that switch connections off, by when they were begun (ms)."""


def _slot(bucket: int) -> str:
    """What all keys of one bucket begin with; their hash tag stands in it."""
    return f"{PREFIX}{{{bucket}}}:"


def record(connection_id: str) -> str:
    """Hash: the connection."""
    return f"{_slot(bucket_of(connection_id))}{connection_id}"


def record_and_outbox(connection_id: str) -> tuple[str, str]:
    """Both at once, as every release needs them."""
    slot = _slot(bucket_of(connection_id))
    return f"{slot}{connection_id}", f"{slot}outbox"


def lease(connection_id: str) -> str:
    """String: who refreshes the connection at present."""
    return f"{record(connection_id)}:lease"


def parked(connection_id: str) -> str:
    """List: sealed credentials of the connection that came too late, newest first."""
    return f"{record(connection_id)}:parked"


def revocation(connection_id: str) -> str:
    """String: the sealed credential of a disconnected connection, until the provider took it back."""
    return f"{record(connection_id)}:revocation"


def reference(connection_id: str, digest: str) -> str:
    """Hash: one reference to the connection."""
    return f"{_slot(bucket_of(connection_id))}ref:{digest}"


def outbox(connection_id: str) -> str:
    """Stream: audit events of the connection's (or client's) bucket that have not reached the journal."""
    return bucket_outbox(bucket_of(connection_id))


def bucket_outbox(bucket: int) -> str:
    """Stream: the outbox of one bucket."""
    return f"{_slot(bucket)}outbox"


def due(connection_id: str) -> str:
    """Sorted set: what has to happen in the connection's bucket, by time (ms)."""
    return bucket_due(bucket_of(connection_id))


def bucket_due(bucket: int) -> str:
    """Sorted set: the due work of one bucket."""
    return f"{_slot(bucket)}due"


def buckets() -> range:
    """All buckets."""
    return range(BUCKETS)


def session(session_id: str) -> str:
    """Hash: a connect session."""
    return f"{PREFIX}{session_id}"


def typed(session_id: str) -> str:
    """String: what a person typed into the session's form, sealed."""
    return f"{session(session_id)}:typed"


def device_authorization(authorization_id: str) -> str:
    """Hash: one attempt of a machine to log in."""
    return f"{PREFIX}{authorization_id}"


def user_code(code: str) -> str:
    """String: the device authorization that a user code leads to. Hashed, so that no listing of keys shows codes; who
    can read the store could still find one, and connect an account of their own to somebody's machine with it."""
    return f"{PREFIX}user_code:{_digest(code)}"


def device_sessions(connection_id: str) -> str:
    """Hash: the machines that are logged in with the connection, by the id of their device session."""
    return f"{record(connection_id)}:devices"


def client(client_id: str) -> str:
    """String: a client, as JSON. It lies in a bucket, as connections do, for the sake of the outbox there."""
    return f"{_slot(bucket_of(client_id))}{client_id}"


def broker_token(digest: str) -> str:
    """String: what a broker token stands for, as JSON."""
    return f"{PREFIX}bat:{digest}"


def tenant_index(tenant: str) -> str:
    """Sorted set: the tenant's connections by creation time (ms)."""
    return f"{PREFIX}index:{tenant}"


def subject_index(tenant: str, subject: str) -> str:
    """Sorted set: one subject's connections by creation time (ms). The subject is hashed: it may be anything."""
    return f"{PREFIX}subject:{tenant}:{_digest(subject)}"


def account_index(issuer: str, client_id: str, account_id: str) -> str:
    """Set: the connections of one account at one OAuth app, whichever tenant's. Accounts nobody knows share one."""
    return f"{PREFIX}account:{_digest(issuer, client_id, account_id)}"


def exchanges(issuer: str, client_id: str) -> str:
    """Sorted set: the sessions of one OAuth app whose code is being redeemed, by when that must be over (ms)."""
    return f"{PREFIX}exchanges:{_digest(issuer, client_id)}"


def journal(tenant: str) -> str:
    """Sorted set: the tenant's audit events by time (ms)."""
    return f"{PREFIX}events:{tenant}"


def connection_journal(connection_id: str) -> str:
    """Sorted set: the times (ms) at which the connection's events stand in its tenant's journal."""
    return f"{record(connection_id)}:events"


def gate(provider: str, where: str) -> str:
    """Sorted set: the requests under way at one endpoint of one provider, by when their slots run out (ms)."""
    return f"{PREFIX}{{gate:{_digest(provider, where)}}}"


def gate_state(provider: str, where: str) -> str:
    """Hash: how that endpoint fared lately, and until when nobody asks it."""
    return f"{gate(provider, where)}:state"


def counter(name: str) -> str:
    """String: a counter that ends with its window."""
    return f"{PREFIX}count:{name}"


def spent(owner: str, identifier: str) -> str:
    """String: an identifier of ``owner`` that was used up. It is hashed: it may be anything."""
    return f"{PREFIX}spent:{_digest(owner, identifier)}"


def repeat(repeat_id: str) -> str:
    """Hash: a request that may come again, and what was answered."""
    return f"{PREFIX}{repeat_id}"


def batch(batch_id: str) -> str:
    """Hash: an import, as one thing that is done or undone."""
    return f"{PREFIX}{batch_id}"


def batch_rows(batch_id: str) -> str:
    """Hash: of the batch's rows those whose connection has another id than the one drawn for it, or that made none.
    Its hash tag is the batch's whole name: one slot, so one script sees both."""
    return f"{PREFIX}{{{batch(batch_id)}}}:rows"


def export(export_id: str) -> str:
    """Hash: an export that switches connections off, and which."""
    return f"{PREFIX}{export_id}"


def leader(chore: str) -> str:
    """String: which replica does a chore at present."""
    return f"{PREFIX}leader:{chore}"


def _digest(*parts: str) -> str:
    """128 bits that stand for these texts, in 22 characters: each is a part of a million names."""
    whole = hashlib.sha256("\n".join(parts).encode()).digest()
    return base64.urlsafe_b64encode(whole[:16]).rstrip(b"=").decode()

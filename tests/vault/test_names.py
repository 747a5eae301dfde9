"""The key layout, which data at rest depends on: what changes here breaks stores that exist."""

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from broker.models.ids import BUCKETS, new_id
from broker.vault import names

CONNECTION = "con_0000000000000000000001"


@given(body=st.text("0123456789abcXYZ", min_size=22, max_size=22), digest=st.text("0123456789abcdef", min_size=64))
def test_all_keys_of_a_connection_share_one_slot(body: str, digest: str) -> None:
    """Record, lease, references, revocation, due work, outbox, times and machines carry one hash tag: ``{bucket}``."""
    connection_id = f"con_{body}"
    keys = [
        names.record(connection_id),
        names.lease(connection_id),
        names.revocation(connection_id),
        names.reference(connection_id, digest),
        names.outbox(connection_id),
        names.due(connection_id),
        names.connection_journal(connection_id),
        names.device_sessions(connection_id),
    ]
    assert len(set(keys)) == len(keys)
    assert len({key.partition("{")[2].partition("}")[0] for key in keys}) == 1
    assert len({key_slot(key.encode()) for key in keys}) == 1


def test_connections_spread_over_the_buckets() -> None:
    """Of ten thousand new ids nearly every bucket has some, and none has ten times its share."""
    counts = dict.fromkeys(names.buckets(), 0)
    for _ in range(10_000):
        bucket = int(names.record(new_id("con")).partition("{")[2].partition("}")[0])
        counts[bucket] += 1
    assert len(counts) == BUCKETS == 1024
    assert sum(count > 0 for count in counts.values()) > 1000
    assert max(counts.values()) < 100


def test_the_layout_is_as_it_always_was() -> None:
    """The exact names, for they are stored."""
    assert names.record(CONNECTION) == "broker:{569}:con_0000000000000000000001"
    assert names.lease(CONNECTION) == "broker:{569}:con_0000000000000000000001:lease"
    assert names.revocation(CONNECTION) == "broker:{569}:con_0000000000000000000001:revocation"
    assert names.connection_journal(CONNECTION) == "broker:{569}:con_0000000000000000000001:events"
    assert names.reference(CONNECTION, "d1") == "broker:{569}:ref:d1"
    assert names.outbox(CONNECTION) == "broker:{569}:outbox"
    assert names.due(CONNECTION) == "broker:{569}:due"
    assert names.session("cs_1") == "broker:cs_1"
    assert names.client("cl_1") == "broker:{20}:cl_1"
    assert names.outbox("cl_1") == "broker:{20}:outbox"
    assert names.broker_token("d1") == "broker:bat:d1"
    assert names.tenant_index("acme") == "broker:index:acme"
    assert names.subject_index("acme", "ann") == "broker:subject:acme:SZFeDX1LQC4wF9AQvBwOgw"
    assert names.journal("acme") == "broker:events:acme"
    assert names.KEYRING == "broker:keyring"
    assert names.CLIENTS == "broker:clients"


@given(tenant=st.text(min_size=1, max_size=20), subject=st.text(max_size=20), other=st.text(min_size=1, max_size=80))
def test_no_subjects_index_is_a_tenants(tenant: str, subject: str, other: str) -> None:
    """Whatever tenants and subjects are called, one subject's index is never another tenant's whole list."""
    key = names.subject_index(tenant, subject)
    assert key != names.tenant_index(other)
    # Names are free text: a tenant may be called like what the subject's key ends in.
    assert not key.startswith(names.tenant_index(""))


def test_accounts_that_nobody_knows_share_an_index_of_their_own_app() -> None:
    """The index is of issuer, app and account together; none of them alone makes two accounts one."""
    issuer = "https://issuer.example"
    keys = {
        names.account_index(issuer, "app", ""),
        names.account_index(issuer, "app", "usr_1"),
        names.account_index(issuer, "app2", "usr_1"),
        names.account_index("https://other.example", "app", "usr_1"),
    }
    assert len(keys) == 4

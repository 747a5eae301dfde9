"""The scripts: each touches only the keys it was given, and those lie in one slot; shown on a real Cluster node."""

import re
from dataclasses import replace
from importlib.resources import files

import pytest

from broker.models.connection import Status
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.vault import names, scripts
from broker.vault.counters import Counters
from broker.vault.journal import Journal
from broker.vault.keyring import Keyring
from broker.vault.leadership import Leadership
from broker.vault.leases import Lease, Leases
from broker.vault.parked import Parked
from broker.vault.records import Records
from broker.vault.redis.store import Argument, Store
from broker.vault.references import StoredReferences
from broker.vault.release import Claim, Release, Releases
from broker.vault.revocations import Job, Revocations
from broker.vault.scripts import Script
from broker.vault.sessions import Sessions
from tests.vault.samples import CREDENTIAL, EVERYTHING, NOW, PRACTICE, a_connection, an_event

_TOUCHED = re.compile(r"redis\.call\('(\w+)',\s*([^,)]+)")


@pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.name)
def test_a_script_touches_only_keys_it_was_given(script: Script) -> None:
    """Every command of every script names its key as KEYS[1], or KEYS[n] in a loop: no key is computed inside."""
    touched = _TOUCHED.findall(script.source)
    assert touched
    assert all(re.fullmatch(r"KEYS\[[\dn]\]", key) for _, key in touched)


def test_every_script_is_loaded_and_declares_its_engine() -> None:
    """The files of the folder and the list are the same; each starts with the line that forbids undeclared slots."""
    folder = files("broker.vault") / "lua"
    assert {f"{script.name}.lua" for script in scripts.ALL} == {file.name for file in folder.iterdir()}
    assert all(script.source.startswith("#!lua") for script in scripts.ALL)
    assert not any("allow-cross-slot-keys" in script.source for script in scripts.ALL)


async def test_a_connections_whole_life_fits_one_slot(cluster: Store, keyring: Keyring) -> None:
    """On a Cluster node each script runs: none mixes slots, which a Cluster would refuse."""
    records, leases, references = Records(cluster, keyring), Leases(cluster), StoredReferences(cluster)
    connection = a_connection()
    await records.create(connection, CREDENTIAL, an_event(connection, "connection.created"))
    lease = await leases.take(connection, "lease_1")
    assert isinstance(lease, Lease)
    assert await leases.intend(lease, connection, started=NOW)
    assert await leases.renew(lease)
    await leases.drop(lease)
    parked = Parked(cluster, keyring)
    assert await parked.park(connection, "late") is Status.ACTIVE
    assert (await parked.candidates(connection)).refresh_tokens == ("late",)
    assert await records.annotate(connection, updated_at=NOW, event=an_event(connection, "x.noted"))
    after = replace(connection, generation=2)
    event = an_event(connection, "credential.refreshed")
    assert (await records.replace(connection, after, CREDENTIAL, event)).stored

    for digest in ("d1", "d2"):
        issued = await references.issue(
            connection.id, digest, audience="cl_app", uses=2, ends_at=NOW + 9**13, event=an_event(connection)
        )
        assert issued == "ok"
    release = await Releases(cluster, keyring).release(
        connection.id, Claim(EVERYTHING, PRACTICE, reference_digest="d1"), an_event(connection), NOW
    )
    assert isinstance(release, Release)
    assert await references.revoke(connection.id, "d2", an_event(connection))

    job = Job(connection.id, "practice", {}, "access-1", None)
    assert await Revocations(cluster, keyring).disconnect(after, job, an_event(connection), stays=60_000)
    journal = Journal(cluster, keep_milliseconds=10**15, keep_events=1000)
    buckets = list(await journal.waiting(names.buckets()))
    parcels = [parcel async for parcels in journal.collect(buckets, 100) for parcel in parcels]
    await journal.move(parcels, NOW)
    await journal.acknowledge(parcels)
    assert await journal.waiting(names.buckets()) == {}
    assert len(await journal.of_connection("acme", connection.id, None, 50)) == 8


async def test_what_belongs_to_no_connection_runs_on_a_cluster_too(cluster: Store, keyring: Keyring) -> None:
    """Sessions, counters, clients, leads and the keyring's own script."""
    sessions = Sessions(cluster, keyring)
    session = ConnectSession(
        id="cs_1", tenant="acme", client_id="cl_1", client_name="App", provider="practice", subject="ann",
        completion=Completion.APP, scopes=("profile",), created_at=NOW, expires_at=NOW + 9**13,
    )  # fmt: skip
    await sessions.create(session)
    change: dict[str, Argument] = {"status": SessionStatus.AUTHORIZING}
    assert await sessions.step(session, now=NOW, among=[SessionStatus.PENDING], change=change, keep=60_000)
    assert (await Counters(cluster).count("failures/203.0.113.7", 60_000)).number == 1
    leadership = Leadership(cluster)
    assert await leadership.leads("chore")
    assert await leadership.leads("chore")
    await leadership.resign()
    assert await cluster.execute("HGET", names.KEYRING, "writer") == b"k1"


async def test_keys_of_two_connections_are_refused_together(cluster: Store) -> None:
    """The node does refuse mixed slots, so the tests above show something."""
    with pytest.raises(Exception, match="CROSSSLOT"):
        await cluster.run(scripts.CREATE, ["{1}:a", "{2}:b"], ["{}", "f", "v"])

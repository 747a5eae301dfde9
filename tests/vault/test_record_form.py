"""What stands in a record: everything that a connection is, once, in as little memory as it takes."""

from dataclasses import replace
from typing import Any

import pytest
import redis

from broker.models.account import Account
from broker.models.connection import Credential
from broker.models.consent import Consent
from broker.vault import names
from broker.vault.keyring import Keyring
from broker.vault.leases import Lease
from broker.vault.record_documents import destination
from broker.vault.record_form import fields_of
from broker.vault.records import Records
from tests.vault.samples import CREDENTIAL, NOW, a_connection, an_event

ANN, BEN = Account("usr_1", "Ann"), Account("usr_2")


def consent(*requested: str, account: Account | None = None) -> Consent:
    """An authorization that was granted as it was asked for."""
    return Consent(NOW, "browser", requested, requested, account, "cs_1", "cl_app")


USUAL = a_connection(
    scopes=("profile",),
    requested_scopes=("profile",),
    consents=(consent("profile", account=ANN),),
    account=ANN,
    parameters={},
    provider_data={},
    label=None,
    metadata={},
)


def test_a_usual_record_says_nothing_twice_and_no_default(keyring: Keyring) -> None:
    """Account and requested scopes stand in the consent; what nobody said stands nowhere."""
    fields: dict[str, Any] = dict(fields_of(keyring, USUAL, CREDENTIAL))
    assert fields["d"] == (f'{{"s":"ann","m":{{"i":"https://issuer.example","c":"app-1"}},"t":{NOW}}}')
    assert fields["l"] == "{}"
    assert fields["c"] == (
        f'[{{"t":{NOW},"m":"browser","r":["profile"],"a":{{"id":"usr_1","name":"Ann"}},"s":"cs_1","c":"cl_app"}}]'
    )
    # 128 bits in base64url.
    assert len(destination(USUAL)) == 22


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"consents": ()},
        {"consents": (), "requested_scopes": ()},
        {"account": None},
        {"account": BEN},
        {"account": None, "consents": (consent("profile"),)},
        {"requested_scopes": ("profile", "mail")},
        {"requested_scopes": ()},
        {"credential_type": "static"},
        {"label": ""},
        {"metadata": {"a": None}, "fallback": "con_other"},
        {"parameters": {"subdomain": "north"}, "provider_data": {"team": {}}},
        {"consents": (consent("old", account=BEN), consent("profile", account=ANN))},
    ],
    ids=lambda change: ",".join(change) or "usual",
)
async def test_whatever_differs_from_the_usual_is_read_as_it_was(records: Records, change: dict[str, Any]) -> None:
    """What is left out is told by what stands there, and nothing is taken for it that isn't."""
    connection = replace(USUAL, **change)
    await records.create(connection, CREDENTIAL, an_event(connection))
    assert await records.read_with_credential(connection.id) == (connection, CREDENTIAL)


async def test_a_refresh_leaves_what_the_consents_say(records: Records) -> None:
    """It writes the document anew and not the consents: account and requested scopes are those of before."""
    await records.create(USUAL, CREDENTIAL, an_event(USUAL))
    lease = Lease(USUAL.id, "owner", unknown_since=None)
    for before, account in ((USUAL, ANN), (replace(USUAL, generation=2), BEN)):
        after = replace(before, generation=before.generation + 1, account=account)
        assert (await records.replace(before, after, CREDENTIAL, an_event(after), lease=lease)).stored
        assert await records.read(after.id) == after


async def test_the_embedded_store_keeps_a_record_as_one_list(records: Records, raw_store: redis.Redis) -> None:
    """Also with tokens of 2 KB: as a table it would take twice the memory, and more time on every fetch."""
    await records.create(USUAL, Credential("a" * 2048, "r" * 2048), an_event(USUAL))
    assert raw_store.object("encoding", names.record(USUAL.id)) == b"listpack"

"""Connections, credentials and events as tests of the vault need them, and the events they left behind."""

from dataclasses import replace
from typing import Any, cast

import redis

from broker.models.access import Reach
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Health, Minted, Status
from broker.models.event import Event
from broker.models.ids import new_id
from broker.vault import names

NOW = 1_700_000_000_000
EVERYTHING = Reach("acme", None)
PRACTICE = frozenset({"practice"})
"""The provider of the connections below, as one whose tokens may be released."""
CREDENTIAL = Credential("access-1", "refresh-1")


def a_connection(**changes: Any) -> Connection:
    """A connection of tenant ``acme`` whose token lives for an hour from ``NOW``."""
    connection = Connection(
        id=new_id("con"),
        tenant="acme",
        provider="practice",
        subject="ann",
        status=Status.ACTIVE,
        credential_type="oauth2",
        generation=1,
        grant_id=new_id("grant"),
        scopes=("profile", "messages.read"),
        requested_scopes=("profile",),
        minted=Minted("https://issuer.example", "app-1"),
        created_at=NOW,
        updated_at=NOW,
        parameters={"subdomain": "north"},
        provider_data={"team": {"id": 7}},
        account=Account("usr_1", "Ann"),
        label="Ann's",
        metadata={"seat": 4},
        access_token_expires_at=NOW + 3_600_000,
        refresh_token_expires_at=NOW + 86_400_000,
        health=Health(last_checked_at=NOW),
    )
    return replace(connection, **changes)


def an_event(connection: Connection, event_type: str = "token.released", *, at: int = NOW) -> Event:
    """An event about ``connection`` at ``at`` (ms), asked for by the client ``cl_app``."""
    return Event(type=event_type, tenant=connection.tenant, at=at, connection_id=connection.id, client_id="cl_app")


def outbox(raw_store: redis.Redis, connection_id: str) -> list[Event]:
    """The events in the outbox of a connection's bucket, oldest first."""
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", raw_store.xrange(names.outbox(connection_id)))
    return [Event.decode(fields[b"e"]) for _, fields in entries]

"""What tests of refreshing ahead share: connections that come due, and the chore that does what is due."""

from dataclasses import replace

import redis

from broker.app.heart import Heart
from broker.background.refreshing import RefreshAhead
from broker.connections.authorization import minted_by
from broker.models.connection import Connection, Credential, Health
from broker.vault import names
from tests.vault.samples import a_connection, an_event

MINUTE, HOUR, DAY = 60, 3600, 86_400


def chore_of(heart: Heart) -> RefreshAhead:
    """The chore as processes run it, but that it looks at what is due in every step."""
    return RefreshAhead(heart.due, heart.records, heart.refresher, heart.providers, heart.clock, looks_every=0)


async def work_off(*chores: RefreshAhead) -> int:
    """Do what is due, and all that comes of it; answers how many pieces were begun."""
    begun = 0
    while some := sum([await chore.step() for chore in chores]):
        begun += some
        for chore in chores:
            await chore.finish()
    return begun


async def crash(chore: RefreshAhead) -> None:
    """End everything that the chore has begun, where it stands."""
    for task in chore._working:
        task.cancel()
    await chore.finish()


async def apps_own(
    heart: Heart, count: int, *, provider: str = "practice", due_in: float = 0, **changes: object
) -> list[str]:
    """So many connections of the app itself (client credentials), in use, and due in so many seconds."""
    entry, now = heart.providers.get(provider), heart.clock()
    parameters = changes.pop("parameters", {})
    assert isinstance(parameters, dict)
    minted = minted_by(entry, await heart.upstream.endpoints(entry, parameters))
    made = []
    for number in range(count):
        connection = replace(
            a_connection(),
            tenant="default",
            provider=provider,
            subject=f"robot-{number}",
            credential_type="client_credentials",
            scopes=("profile",),
            minted=minted,
            parameters=parameters,
            created_at=now,
            updated_at=now,
            access_token_expires_at=now + 10 * MINUTE * 1000,
            refresh_token_expires_at=None,
            health=Health(last_refreshed_at=now, next_refresh_at=now + int(due_in * 1000)),
            **changes,  # type: ignore[arg-type]  # fields of a connection
        )
        await heart.records.create(connection, Credential("at-old"), an_event(connection, at=now))
        made.append(connection.id)
    return made


async def stored(heart: Heart, connection_id: str) -> Connection:
    """The connection as it stands in the store."""
    connection = await heart.records.read(connection_id)
    assert connection is not None
    return connection


async def generations(heart: Heart, ids: list[str]) -> set[int]:
    """The generations of these connections."""
    return {(await stored(heart, connection_id)).generation for connection_id in ids}


def due_at(raw_store: redis.Redis, connection_id: str) -> float | None:
    """When the connection is due to be refreshed (ms), by the due work."""
    return raw_store.zscore(names.due(connection_id), f"refresh:{connection_id}")

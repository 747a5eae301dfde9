"""After an import: whoever uses a connection first has it refreshed, and until then the other system may work on."""

from dataclasses import replace

import httpx2
import pytest

from broker.app.heart import Heart
from tests.background.ahead import DAY, HOUR, chore_of, work_off
from tests.connections.moving.taking_in import made, oauth_rows, take
from tests.journey import MakeClient
from tests.kinds.test_imported import refreshes
from tests.world import FakeClock


@pytest.mark.parametrize("created", [None, "last year"])
async def test_nobody_refreshes_it_before_its_first_use(
    heart: Heart, sandbox: httpx2.Client, clock: FakeClock, make_client: MakeClient, created: str | None
) -> None:
    """However old it is: a refresh ahead would end what the other system holds. Once used, it is kept fresh as any."""
    rows = oauth_rows(sandbox, 2, expires_at=clock() // 1000 + HOUR)
    if created:
        rows = [replace(row, created_at=clock() - 365 * DAY * 1000) for row in rows]
    used, idle = await made(heart, await take(heart, rows), rows)
    app = await make_client("app")
    clock.advance(seconds=HOUR / 2)
    assert (await app.fetch(used.id)).json()["generation"] == 1
    for _ in range(4):
        clock.advance(seconds=HOUR / 8)
        await work_off(chore_of(heart))
    assert refreshes(sandbox) == {"ok": 1, "error": 0}
    generations = [(await heart.records.read(one.id)).generation for one in (used, idle)]  # type: ignore[union-attr]
    assert generations == [2, 1]
    app._token = ""
    assert (await app.fetch(idle.id)).json()["generation"] == 2

"""Hashes that pass through statuses, each step taken once: connect sessions and device authorizations."""

from collections.abc import Collection, Mapping

from broker.models.ids import new_id
from broker.vault import scripts
from broker.vault.redis.store import Argument, Store, run_or_repeat


async def step(
    store: Store,
    key: str,
    *,
    now: int,
    among: Collection[str],
    change: Mapping[str, Argument],
    where: Mapping[str, str] | None = None,
    keep: int | None = None,
    attempt: str = "",
) -> bool:
    """Change fields if the hash stands ``among`` these statuses, in time, and ``where`` holds.

    One atomic step, so of many callers with the same step exactly one is answered ``True``.

    :param keep: milliseconds from now after which the hash disappears.
    :param attempt: names this very step, for callers who repeat it beyond the one time that it is repeated here.
    """
    where = where or {}
    arguments: list[Argument] = [
        now,
        f",{','.join(among)},",
        "" if keep is None else keep,
        attempt or new_id("attempt"),
        len(where),
        *(part for pair in where.items() for part in pair),
        *(part for pair in change.items() for part in pair),
    ]
    # The step may be taken and its answer lost, and with it the browser: asked again by its name, it is taken once.
    return bool(await run_or_repeat(store, scripts.SESSION_STEP, [key], arguments))

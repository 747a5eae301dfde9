"""Which replica does a chore at present. A hint that saves work: every chore may be done twice without harm."""

from typing import Final

from broker.models.ids import new_id
from broker.vault import names, scripts
from broker.vault.redis.store import Store

_TERM_MILLISECONDS: Final = 15_000


class Leadership:
    """Holds, renews and gives back the lead in chores, as one replica."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._replica = new_id("replica")
        self._led: set[str] = set()

    async def leads(self, chore: str) -> bool:
        """Whether this replica does the chore now; takes the lead if nobody has it."""
        if await self._store.run(scripts.LEAD, [names.leader(chore)], [self._replica, _TERM_MILLISECONDS]):
            self._led.add(chore)
            return True
        return False

    async def keeps(self, chore: str) -> bool:
        """Prolong a lead that this replica has; ``False``: it ran out, and somebody else may have had it since."""
        return bool(
            await self._store.run(scripts.LEASE_RENEW, [names.leader(chore)], [self._replica, _TERM_MILLISECONDS])
        )

    async def resign(self) -> None:
        """Give every lead back, so that another replica takes over at once."""
        while self._led:
            await self._store.run(scripts.LEASE_DROP, [names.leader(self._led.pop())], [self._replica])

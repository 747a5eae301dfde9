"""How many requests an endpoint sees at once from all replicas, and until when it is left alone."""

from broker.vault.redis.store import Store


class Admission:
    """Slots and pauses of endpoints."""

    def __init__(self, store: Store) -> None:
        self._store = store

"""Changing what stands in the store, as a faulty writer or an intruder would."""

import json
from typing import Any

import redis


def rewrite(raw_store: redis.Redis, key: str | bytes, **members: Any) -> None:
    """Change members of a stored JSON document."""
    stored = raw_store.get(key)
    assert isinstance(stored, bytes)
    raw_store.set(key, json.dumps({**json.loads(stored), **members}), keepttl=True)

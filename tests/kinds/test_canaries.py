"""What was handed in, searched for where it must not be: the store, the log, every answer but that of a token."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

import httpx2
import pytest
import redis

from tests.journey import everything_in
from tests.kinds.cases import CASES, Case, create, made_by
from tests.observe.capture import logged
from tests.world import ServiceClient

__all__ = ["logged"]


async def life(app: ServiceClient, provider: str, credentials: Mapping[str, Any], store: redis.Redis) -> str:
    """Make a connection, test it, fetch from it and end it; all that was answered but tokens, and stored meanwhile."""
    answers = [await create(app, provider, credentials)]
    kept = everything_in(store)
    if answers[0].status_code == 201:
        path = f"/v1/connections/{answers[0].json()['id']}"
        await app.fetch(answers[0].json()["id"])
        answers += [await app.call("POST", f"{path}/test"), await app.call("GET", path)]
        kept += everything_in(store)
        answers += [await app.call("DELETE", path), await app.call("GET", "/v1/events")]
    return "".join(answer.text for answer in answers) + (kept + everything_in(store)).decode("latin-1")


def lines_of(pem: str) -> list[str]:
    """Each line of a private key, as it is and as JSON has it."""
    return [line for line in pem.splitlines() if not line.startswith("---")]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_nothing_of_it_is_kept_or_said(
    app: ServiceClient, raw_store: redis.Redis, logged: StringIO, case: Case
) -> None:
    """Right or wrong, signed with or sent."""  # K1
    seen = ""
    for credentials in (case.good, case.wrong, case.malformed):
        seen += await life(app, case.provider, credentials, raw_store)
    assert case.canaries
    assert "/v1/connections" in logged.getvalue()
    assert not [canary for canary in case.canaries if canary in seen + logged.getvalue()]


@pytest.mark.parametrize(
    ("provider", "kind", "change"),
    [
        ("practice-own-app", "github_app", {"client_id": "another-app"}),
        ("practice-service-account", "google_service_account", {"client_email": "nobody@practice.example"}),
    ],
)
async def test_nothing_of_a_private_key_is_kept_or_said(
    app: ServiceClient,
    sandbox: httpx2.Client,
    raw_store: redis.Redis,
    logged: StringIO,
    provider: str,
    kind: str,
    change: dict[str, str],
) -> None:
    """Neither of one that works, nor of one that is refused, nor of one that is cut short."""  # K1
    good = made_by(sandbox, kind)
    short = {**good, "private_key": good["private_key"][:900]}
    seen = ""
    for credentials in (good, {**good, **change}, short):
        seen += await life(app, provider, credentials, raw_store)
    assert not [line for line in lines_of(good["private_key"]) if line in seen + logged.getvalue()]

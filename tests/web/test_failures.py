"""Tests of what is left of a connection that failed: a line in the log, and a reason in the session."""

import json
from io import StringIO
from typing import Any

import httpx2
import pytest

from tests.journey import session_of
from tests.observe.capture import logged
from tests.web.test_callback import altered
from tests.world import Person, ServiceClient, parameters_of

__all__ = ["logged"]


def failures_in(log: StringIO) -> list[dict[str, Any]]:
    """The lines about failed connections."""
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == "connect.failed"]


async def refuse(app: ServiceClient, person: Person, completion: str, **answer: str | None) -> dict[str, Any]:
    """Bring a refusal of the provider; answers the session afterwards."""
    opened = await app.open_session(completion=completion)
    denied = await person.approve(opened["connect_url"], "deny")
    await person.arrive(altered(denied, **answer))
    return await session_of(app, opened["id"])


@pytest.mark.parametrize("completion", ["app", "code", "browser"])
async def test_what_the_provider_said_is_kept(
    app: ServiceClient, person: Person, logged: StringIO, completion: str
) -> None:
    """Code and words stand in the session and in one line of the log, whoever completes."""
    session = await refuse(app, person, completion, error="invalid_scope", error_description="unknown: bogus")
    assert (session["error"], session["error_detail"]) == ("invalid_scope", "unknown: bogus")
    (line,) = failures_in(logged)
    assert {name: line[name] for name in ("session_id", "provider", "completion", "error", "detail", "level")} == {
        "session_id": session["id"],
        "provider": "practice",
        "completion": completion,
        "error": "invalid_scope",
        "detail": "unknown: bogus",
        "level": "info",
    }


async def test_without_words_there_is_no_detail(app: ServiceClient, person: Person) -> None:
    """Neither while nothing has failed, nor where the provider gives no reason."""
    opened = await app.open_session()
    assert (await session_of(app, opened["id"]))["error_detail"] is None
    session = await refuse(app, person, "app")
    assert (session["error"], session["error_detail"]) == ("access_denied", None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"error_description": "<script>alert('x')</script>"}, "scriptalert('x')/script"),
        ({"error_description": 'line\r\none\x00\x1b[31m "quoted" \\ \u202eevil'}, "lineone[31m quoted  evil"),
        ({"error_description": 300 * "x"}, 200 * "x"),
        ({"error": "Consent <Required>", "error_description": "by policy"}, "Consent Required: by policy"),
        ({"error": 300 * "E", "error_description": 300 * "x"}, f"{64 * 'E'}: {134 * 'x'}"),
    ],
    ids=["markup", "control characters", "long", "odd code", "long code"],
)
async def test_the_words_are_made_harmless(
    app: ServiceClient, person: Person, said: dict[str, str | None], kept: str
) -> None:
    """They came through a browser: printable, without markup, at most 200 characters."""
    # B10
    session = await refuse(app, person, "app", **said)
    assert session["error_detail"] == kept


async def test_words_that_repeat_a_secret_are_dropped(app: ServiceClient, person: Person, logged: StringIO) -> None:
    """A provider that puts the state into its description tells nobody."""
    # K1
    opened = await app.open_session()
    denied = await person.approve(opened["connect_url"], "deny")
    secret = parameters_of(denied)["state"]
    await person.arrive(altered(denied, error_description=f"bad state {secret}"))
    assert (await session_of(app, opened["id"]))["error_detail"] is None
    assert secret.rpartition("_")[2] not in logged.getvalue()


async def test_our_own_refusals_say_why_too(app: ServiceClient, person: Person, logged: StringIO) -> None:
    """A wrong ``iss`` and an answer without code or error are lines of the log as well, each once."""
    # B7
    for completion, change in (("app", {"iss": "https://evil.example"}), ("code", {"code": None})):
        opened = await app.open_session(completion=completion)
        callback = await person.approve(opened["connect_url"])
        for _ in range(2):
            assert (await person.arrive(altered(callback, **change))).status_code == 400
    assert [(line["error"], line["detail"]) for line in failures_in(logged)] == [
        ("invalid_issuer", "the answer comes from another issuer than the one that was asked"),
        ("provider_error", "the provider answered neither a code nor an error"),
    ]


@pytest.mark.parametrize("completion", ["app", "browser"])
async def test_a_code_that_is_not_redeemed_says_why(
    app: ServiceClient, person: Person, sandbox: httpx2.Client, logged: StringIO, completion: str
) -> None:
    """What the token endpoint answered is kept in the same place."""
    opened = await app.open_session(completion=completion)
    callback = altered(await person.approve(opened["connect_url"]), code="made-up-by-somebody")
    arrived = await person.arrive(callback)
    if completion == "app":
        await app.complete(opened["id"], parameters_of(arrived.headers["location"])["completion_code"])
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "provider_error")
    assert "invalid_grant" in session["error_detail"]
    (line,) = failures_in(logged)
    assert line["detail"] == session["error_detail"]
    assert "made-up-by-somebody" not in logged.getvalue()

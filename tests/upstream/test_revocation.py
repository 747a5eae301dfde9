"""Giving tokens back: each style on the wire, and what its answers mean."""

import asyncio

import pytest

from broker.upstream.client_auth import basic
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.revocation import RevocationOutcome, parse_outcome, revoke
from tests.upstream.conftest import NOW, MakeProvider
from tests.upstream.practice_server import Asked, PracticeServer, inbound, json_answer, practice_server, raw_answer
from tests.waiting import LoopTime, eventually

BASIC = basic("client-one", "client-secret-0123456789")


async def revoke_at(
    egress: Egress,
    make_provider: MakeProvider,
    server: PracticeServer,
    *,
    access_token: str | None = "the-access-token",
    refresh_token: str | None = "the-refresh-token",
    path: str = "/revoke",
    deadline: float = 60,
    **rule: str,
) -> RevocationOutcome:
    """One revocation by an entry whose rule is ``rule``."""
    provider = make_provider(
        revocation={"endpoint": f"{server.origin}{path}", **rule},
        token_headers={"Practice-Version": "2"},
        timeout=deadline,
    )
    return await revoke(
        egress,
        lambda: NOW,
        provider,
        resolve(provider, {}, None),
        access_token=access_token,
        refresh_token=refresh_token,
    )


async def test_the_standard_way(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """RFC 7009 §2.1: a form with the refresh token, its kind, and client authentication."""
    server.answers["/revoke"] = raw_answer(200)
    assert await revoke_at(egress, make_provider, server) == RevocationOutcome("revoked", 200, "")
    (asked,) = server.asked
    assert (asked.method, asked.headers["authorization"]) == ("POST", BASIC)
    assert asked.headers["practice-version"] == "2"
    assert asked.form == {"token": "the-refresh-token", "token_type_hint": "refresh_token"}


async def test_the_standard_way_as_json(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """The same fields in another encoding; the entry says which token."""
    server.answers["/revoke"] = json_answer({})
    await revoke_at(egress, make_provider, server, style="rfc7009_json", token="access_token")
    (asked,) = server.asked
    assert (asked.method, asked.headers["authorization"]) == ("POST", BASIC)
    assert asked.headers["content-type"] == "application/json"
    assert asked.json == {"token": "the-access-token", "token_type_hint": "access_token"}


async def test_the_token_revokes_itself(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """As bearer, without client authentication."""
    server.answers["/revoke"] = json_answer({"ok": True})
    outcome = await revoke_at(egress, make_provider, server, style="bearer_post")
    assert outcome.outcome == "revoked"
    (asked,) = server.asked
    assert (asked.method, asked.headers["authorization"], asked.body) == ("POST", "Bearer the-access-token", b"")


async def test_the_app_deletes_the_token(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """DELETE with Basic and JSON, at an address with the client id in it."""
    server.answers["/apps/client-one/grant"] = raw_answer(204)
    outcome = await revoke_at(
        egress,
        make_provider,
        server,
        path="/apps/{client_id}/grant",
        style="basic_delete_json",
    )
    assert outcome == RevocationOutcome("revoked", 204, "")
    (asked,) = server.asked
    assert (asked.method, asked.headers["authorization"]) == ("DELETE", BASIC)
    assert asked.json == {"access_token": "the-access-token"}


async def test_the_token_there_is(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """Without a refresh token the access token goes; without any, nothing does."""
    server.answers["/revoke"] = raw_answer(200)
    await revoke_at(egress, make_provider, server, refresh_token=None)
    (asked,) = server.asked
    assert asked.form == {"token": "the-access-token", "token_type_hint": "access_token"}
    outcome = await revoke_at(egress, make_provider, server, refresh_token=None, access_token=None)
    assert outcome.outcome == "unsupported"
    assert len(server.asked) == 1


async def test_a_provider_without_revocation(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """It's said, and nobody is asked."""
    provider = make_provider()
    outcome = await revoke(
        egress, lambda: NOW, provider, resolve(provider, {}, None), access_token="a", refresh_token="r"
    )
    assert (outcome.outcome, outcome.status) == ("unsupported", None)
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"", "revoked"),
        (200, b"<html>bye</html>", "revoked"),
        (204, b"", "revoked"),
        (200, b'{"ok": true}', "revoked"),
        (200, b'{"ok": false, "error": "not_authed"}', "failed"),
        (200, b'{"error": "unsupported_token_type"}', "failed"),
        (302, b"", "failed"),
        (400, b'{"error": "invalid_client"}', "failed"),
        (401, b"", "failed"),
        (404, b"", "failed"),
        (429, b"", "pending"),
        (500, b"", "pending"),
        (503, b"", "pending"),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, outcome: str) -> None:
    """A success that states an error is none; what may pass is pending, what won't has failed."""
    found = parse_outcome(inbound(body=body, status=status), now=NOW)
    assert (found.outcome, found.status) == (outcome, status)


async def test_a_provider_out_of_reach_is_pending(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider, loop_time: LoopTime
) -> None:
    """Nobody there, no answer, or no client secret yet: it may work later."""

    async def silence(_: Asked, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server.answers["/revoke"] = silence
    async with practice_server() as gone:
        pass
    unreached = await revoke_at(egress, make_provider, gone)
    waiting = asyncio.create_task(revoke_at(egress, make_provider, server, deadline=60))
    await eventually(lambda: server.asked)
    loop_time.advance(seconds=60)
    for outcome in (unreached, await waiting):
        assert (outcome.outcome, outcome.status) == ("pending", None)


async def test_the_outcome_repeats_no_secret(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """A provider that quotes what it got doesn't make us do so."""  # K1
    for secret in ("the-refresh-token", "the-access-token", "client-secret-0123456789", BASIC):
        server.answers["/revoke"] = json_answer({"error": "no", "error_description": f"bad {secret}"}, 400)
        outcome = await revoke_at(egress, make_provider, server)
        assert outcome == RevocationOutcome("failed", 400, "the provider refused: no")

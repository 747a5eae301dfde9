"""Where key sets may be fetched from, and what is refused that comes of it."""

import json
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from broker.errors import AddressRefused, BrokerError, NotSent, ProviderError
from broker.upstream.egress import Egress
from broker.upstream.key_sets import TIME_TO_LIVE, KeySets, KeySource
from tests.upstream.practice_server import PracticeServer, json_answer, practice_server, raw_answer
from tests.upstream.publishing import (
    OPENID,
    RFC8414,
    Names,
    Time,
    anything,
    at,
    issuer,
    key_sets,
    names,
    published,
    time,
)
from tests.upstream.tls import contexts_for

__all__ = ["key_sets", "time"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server: PracticeServer, key_sets: KeySets[Names], status: int) -> None:
    """Keys that moved are keys that aren't there."""  # E3
    async with practice_server() as elsewhere:
        elsewhere.answers["/jwks"] = published("a")
        server.answers["/jwks"] = raw_answer(status, b"", {"location": f"{elsewhere.origin}/jwks"})
        with pytest.raises(ProviderError):
            await anything(key_sets, at(server))
        assert elsewhere.asked == []


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401])
async def test_only_200_publishes_keys(server: PracticeServer, key_sets: KeySets[Names], status: int) -> None:
    """Whatever the body says."""
    server.answers["/jwks"] = json_answer({"keys": [{"kid": "a"}]}, status)
    with pytest.raises(ProviderError):
        await anything(key_sets, at(server))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [], "keys": [{"kid": "a"}]}',
        b"keys=a",
        b"\xff",
        b"[" * 100_000,
        json.dumps({"keys": [{"kid": "a"}] * 101}).encode(),
        json.dumps({"keys": [{"kid": "a", "x": "x" * 140_000}]}).encode(),
    ],
)
async def test_what_is_no_key_set_is_refused(server: PracticeServer, key_sets: KeySets[Names], body: bytes) -> None:
    """Other shapes, doubled members, too many keys, too many bytes."""  # P2
    server.answers["/jwks"] = raw_answer(200, body, {"content-type": "application/json"})
    with pytest.raises(NotSent):
        await anything(key_sets, at(server))


async def test_a_huge_body_is_not_read_to_its_end(server: PracticeServer, key_sets: KeySets[Names]) -> None:
    """The way out caps it; that counts as silence."""  # P2
    server.answers["/jwks"] = raw_answer(200, b" " * 2_000_000)
    with pytest.raises(NotSent):
        await anything(key_sets, at(server))


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/jwks",
        "https://0.0.0.0/jwks",
        "https://[::1]/jwks",
        "https://[::ffff:127.0.0.1]/jwks",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/jwks",
        "https://100.64.0.1/jwks",
        "https://[64:ff9b::7f00:1]/jwks",
        "https://[2002:7f00:1::]/jwks",
        "https://[2001::1]/jwks",
        "https://0177.0.0.1/jwks",
        "https://2130706433/jwks",
        "https://keys.example./jwks",
        "http://127.0.0.1/jwks",
        "http://keys.example/jwks",
        "ftp://keys.example/jwks",
        "file:///etc/passwd",
        "https://user:word@keys.example/jwks",
        "https://keys.example/jwks#a",
    ],
)
@pytest.mark.parametrize("of_issuer", [False, True])
async def test_an_address_that_may_not_be_called_is_not(time: Time, url: str, of_issuer: bool) -> None:
    """Neither a set's nor an issuer's, in whatever spelling."""  # E1
    asked = []

    async def resolve(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    egress = Egress(resolve=resolve)
    key_sets = KeySets(egress, time, names)
    with pytest.raises(AddressRefused):
        await anything(key_sets, KeySource(url, of_issuer))
    assert asked == []
    await egress.aclose()


@pytest.mark.parametrize("of_issuer", [False, True])
async def test_a_server_on_this_machine_is_not_reached(server: PracticeServer, time: Time, of_issuer: bool) -> None:
    """A real one that would answer, by its address and by a name that leads to it."""  # E1
    server.answers["/jwks"] = published("a")

    async def resolve(_: str, __: int) -> Sequence[str]:
        return ["127.0.0.1"]

    egress = Egress(resolve=resolve)
    key_sets = KeySets(egress, time, names)
    for url in (server.origin, f"{server.origin}/jwks", f"https://keys.example:{server.port}/jwks"):
        with pytest.raises(AddressRefused):
            await anything(key_sets, KeySource(url, of_issuer))
    assert server.asked == []
    await egress.aclose()


async def test_only_the_checked_address_is_dialled(tmp_path: Path, time: Time) -> None:
    """A name that turns to an internal address reaches nothing there."""  # E2
    serving, trust = contexts_for("keys.example", tmp_path)
    answers = [["127.0.0.2"], ["127.0.0.1"]]
    asked = []

    async def resolve(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    egress = Egress(allow=[ip_network("127.0.0.2/32")], ssl_context=trust, resolve=resolve)
    key_sets = KeySets(egress, time, names)
    async with (
        practice_server("127.0.0.2", tls=serving) as checked,
        practice_server("127.0.0.1", checked.port, tls=serving) as other,
    ):
        checked.answers["/jwks"] = other.answers["/jwks"] = published("a")
        source = KeySource(f"https://keys.example:{checked.port}/jwks")
        assert await anything(key_sets, source) == ("a",)
        assert (len(asked), len(checked.asked)) == (1, 1)
        time.now += TIME_TO_LIVE
        with pytest.raises(AddressRefused):
            await anything(key_sets, source)
        assert (len(asked), len(checked.asked), other.asked) == (2, 1, [])
    await egress.aclose()


async def test_the_environments_proxy_is_ignored(
    server: PracticeServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys come from their address, not by way of whoever set a variable."""  # E5
    server.answers["/jwks"] = published("a")
    async with practice_server() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        egress = Egress(allow=[ip_network("127.0.0.0/8")])
        key_sets = KeySets(egress, time, names)
        assert await anything(key_sets, at(server)) == ("a",)
        assert proxy.asked == []
        await egress.aclose()


@pytest.mark.parametrize(("path", "found_at"), [("", OPENID), ("", RFC8414), ("/one", f"/one{OPENID}")])
async def test_an_issuers_keys_are_where_its_metadata_say(
    server: PracticeServer, key_sets: KeySets[Names], path: str, found_at: str
) -> None:
    """A platform's document has no endpoint but that of its keys."""
    document = {"issuer": f"{server.origin}{path}", "jwks_uri": f"{server.origin}/openid/v1/jwks"}
    server.answers[found_at] = json_answer(document)
    server.answers["/openid/v1/jwks"] = published("a")
    assert await anything(key_sets, issuer(server, path)) == ("a",)
    asked = len(server.asked)
    assert await anything(key_sets, issuer(server, path)) == ("a",)
    assert len(server.asked) == asked


@pytest.mark.parametrize("path", ["", "/one"])
async def test_a_document_without_an_address_of_keys_is_passed_over(
    server: PracticeServer, key_sets: KeySets[Names], path: str
) -> None:
    """RFC 8414 lets it be left out, where OpenID asks for it: each place is asked until one names it."""
    bare = {"issuer": f"{server.origin}{path}", "token_endpoint": f"{server.origin}/token"}
    places = [f"{path}{OPENID}", f"{OPENID}{path}", f"{RFC8414}{path}"] if path else [OPENID, RFC8414]
    for place in places:
        server.answers[place] = json_answer(bare)
    server.answers[places[-1]] = json_answer({**bare, "jwks_uri": f"{server.origin}/jwks"})
    server.answers["/jwks"] = published("a")
    assert await anything(key_sets, issuer(server, path)) == ("a",)
    assert [asked.target for asked in server.asked] == [*places, "/jwks"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "https://evil.test"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": ["/jwks"]},
        {"jwks_uri": "/jwks"},
        {"jwks_uri": "http://keys.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
)
async def test_wrong_metadata_lead_nowhere(
    server: PracticeServer, key_sets: KeySets[Names], wrong: dict[str, object]
) -> None:
    """Another issuer, no address, or one that is not https."""  # E4
    server.answers[OPENID] = json_answer({"issuer": server.origin, "jwks_uri": f"{server.origin}/jwks", **wrong})
    server.answers["/jwks"] = published("a")
    with pytest.raises(BrokerError) as refused:
        await anything(key_sets, issuer(server))
    assert isinstance(refused.value, ProviderError | AddressRefused)
    assert "/jwks" not in [asked.target for asked in server.asked]


async def test_metadata_can_not_send_us_to_a_place_that_is_guarded(time: Time) -> None:
    """The issuer may be called; the address that it names may not."""  # E1
    async with practice_server("127.0.0.2") as public, practice_server("127.0.0.1") as inside:
        egress = Egress(allow=[ip_network("127.0.0.2/32")])
        key_sets = KeySets(egress, time, names)
        public.answers[OPENID] = json_answer({"issuer": public.origin, "jwks_uri": f"{inside.origin}/jwks"})
        with pytest.raises(AddressRefused):
            await anything(key_sets, issuer(public))
        assert inside.asked == []
        await egress.aclose()

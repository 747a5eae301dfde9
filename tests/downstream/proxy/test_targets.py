"""Where a request goes: below ``api.base_url``, as it was written, or nowhere."""

import pytest

from tests.downstream.answers import code_of
from tests.downstream.proxy.caller import ProxyCaller
from tests.upstream.practice_server import PracticeServer

AS_WRITTEN = (
    "/", "/a", "/a/", "/a//b", "/a%20b", "/a%2Fb", "/a%2fb", "/%7Euser", "/~user", "/a+b", "/a;v=1", "/a@b:80",
    "/!$&'()*,=:@", "/.a", "/a..b", "/...", "/%C3%A4", "/%c3%80", "/a%25", "/a?x=1&x=2", "/a?x=%2e%2e/", "/a?x=../..",
    "/a?x=//host", "/a?x=%00", "/a?x=a+b%20c", "/a?x='(1)'", "/a?x[]=1&y={z}", "/a?x=@:/?", "/a?&&=", "/http://host/",
)  # fmt: skip
LED_ASTRAY = (
    "/..", "/../x", "/a/../../x", "/.", "/a/./b", "/%2e%2e/x", "/%2E%2E/x", "/.%2e/x", "/%2e./x", "/%252e%252e/x",
    "/%25252e%25252e/x", "/..%2fx", "/..%5cx", "/%2e%2e%2fx", "/a%2f..%2f..%2fx", "/..%252fx", "/..;/x", "/..;a=b/x",
    "/%2e%2e;/x", "/..%3b/x", "/..%20/x", "/..%09/x", "/a\\..\\x", "/\\host", "/a%5c..%5cx", "//host/x", "///host",
    "/a%00", "/a%0d%0aX:1", "/a%0a", "/a%7f", "/a%2500", "/a%", "/a%2", "/a%zz", "/a\xe4", '/a"b', "/a<b>", "/a|b",
    "/a^b", "/a`b", "/a{b}", "/a?b\\c", '/a?b"c', "/a?b%zz", "/%c0%ae%c0%ae/x", "/%c0%ae./x", "/a%c0%afx",
    "/a%25c0%25afx", "/%" + "25" * 9 + "2e", "/%e0%80%ae%e0%80%ae/x", "/..%3fx", "/..%23x", "/..%ff/x",
    "/%ef%bc%8e%ef%bc%8e/x", "/%e2%80%a5/x", "/a%ef%bc%8f..%ef%bc%8fx",
)  # fmt: skip


async def test_a_target_is_passed_on_as_it_is_written(caller: ProxyCaller, rough: PracticeServer) -> None:
    """Nothing is decoded and encoded again: two spellings need not mean the same to a provider."""
    connection = await caller.connect()
    for target in AS_WRITTEN:
        status, said = await caller.write(f"GET /proxy/{connection}{target} HTTP/1.1")
        assert status == 404, (target, said)
        assert b"broker-connection: con_" in said
    assert [asked.target for asked in rough.asked] == [f"/base{target}" for target in AS_WRITTEN]
    requested = [event["data"]["path"] for event in await caller.events(connection)]
    assert sorted(requested) == sorted(f"/base{target.partition('?')[0]}" for target in AS_WRITTEN)


async def test_a_target_that_could_lead_elsewhere_is_refused(caller: ProxyCaller, rough: PracticeServer) -> None:
    """The provider is not asked; nothing is written down as requested."""  # G1
    connection = await caller.connect()
    for path in LED_ASTRAY:
        status, said = await caller.write(f"GET /proxy/{connection}{path} HTTP/1.1")
        assert status == 400, (path, said)
    assert rough.asked == []
    assert await caller.events(connection) == []


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://elsewhere.example/proxy/{id}/a HTTP/1.1", 404),
        ("GET http://elsewhere.example/{id}/a HTTP/1.1", 404),
        ("GET //elsewhere.example/proxy/{id}/a HTTP/1.1", 404),
        ("GET /proxy/{id}@elsewhere.example/a HTTP/1.1", 404),
        ("GET /proxy/{id}%2f..%2fa HTTP/1.1", 404),
        ("GET /proxy/{id} HTTP/1.1", 404),
        ("GET /proxy/%63on{rest}/a HTTP/1.1", 404),
        ("GET /proxy/../proxy/{id}/a HTTP/1.1", 404),
        ("GET /proxy//{id}/a HTTP/1.1", 404),
        ("GET @elsewhere.example/proxy/{id}/a HTTP/1.1", 400),
        ("GET elsewhere.example:80 HTTP/1.1", 400),
        ("GET /proxy/{id}/a HTTP/1.1\r\nHost: elsewhere.example", 400),
        ("GET /proxy/{id}/a\r\nX: 1 HTTP/1.1", 400),
        ("GET /proxy/{id}/a b HTTP/1.1", 400),
        ("CONNECT elsewhere.example:443 HTTP/1.1", 400),
        ("TRACE /proxy/{id}/a HTTP/1.1", 405),
        ("CONNECT /proxy/{id}/a HTTP/1.1", 405),
        ("PROPFIND /proxy/{id}/a HTTP/1.1", 405),
        ("LINK /proxy/{id}/a HTTP/1.1", 405),
        ("GETT /proxy/{id}/a HTTP/1.1", 400),
    ],
)  # fmt: skip
async def test_an_odd_request_line_reaches_no_provider(
    caller: ProxyCaller, rough: PracticeServer, line: str, status: int
) -> None:
    """Neither by another form of target (RFC 9112 §3.2), nor by another spelling, nor by another verb."""  # G1, S12
    connection = await caller.connect()
    answered, said = await caller.write(line.format(id=connection, rest=connection.removeprefix("con")))
    if line.startswith("GET http://elsewhere.example/proxy/"):
        # The whole address is a way to write a target; its host counts for nothing.
        assert [asked.target for asked in rough.asked] == ["/base/a"]
    else:
        assert rough.asked == []
        assert answered == status, said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "0x7f.1", "2130706433"])
async def test_a_host_that_a_connection_names_may_not_be_ours(caller: ProxyCaller, host: str) -> None:
    """Who hands a credential in chooses it: the guard watches where it leads."""  # E1
    body = {"provider": "hosted", "subject": "ann", "credentials": {}, "parameters": {"host": host}, "validate": False}
    made = await caller.app.call("POST", "/v1/connections", body)
    answer = await caller.http.get(f"/proxy/{made.json()['id']}/a")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


async def test_what_is_refused_is_told(caller: ProxyCaller) -> None:
    """A problem document like any other."""
    answer = await caller.http.get(f"/proxy/{await caller.connect()}/a%5Cb")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")

"""Whose account it is: the call, the answer, and what a refusal means."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from broker.errors import InvalidRequest, OutcomeUnknown, ProviderBusy, ProviderError, ProviderRefused
from broker.models.account import Account
from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream.egress import Egress
from broker.upstream.endpoints import IdentityEndpoint, resolve
from broker.upstream.identity import identify, parse_account
from broker.upstream.metadata import Metadata
from tests.upstream.conftest import NOW, MakeProvider
from tests.upstream.practice_server import PracticeServer, inbound, json_answer

RULE = IdentityEndpoint("https://provider.test/me", True, "GET", "/user/id", ("/user/email", "/user/name"), {})


async def ask(
    egress: Egress,
    provider: Provider,
    *,
    metadata: Metadata | None = None,
    access_token: str = "the-access-token",
    credential_type: str = "oauth2",
    scopes: Sequence[str] = (),
) -> Account | None:
    """Ask whose the token is."""
    found = await identify(
        egress,
        lambda: NOW,
        provider,
        resolve(provider, {}, metadata),
        values={},
        credential=Credential(access_token),
        credential_type=credential_type,
        scopes=scopes,
    )
    return found.account if found else None


def account(document: object = None, *, status: int = 200, body: bytes | None = None) -> Account:
    """What is read out of an answer."""
    return parse_account(
        RULE, inbound(document, status=status, body=body), secrets=("the-access-token", "the-refresh-token"), now=NOW
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_call(server: PracticeServer, egress: Egress, make_provider: MakeProvider, method: str) -> None:
    """The token travels in the header only, with what the entry adds."""
    server.answers["/me"] = json_answer({"id": 7, "login": "ada"})
    identity = {
        "url": f"{server.origin}/me",
        "method": method,
        "id": "/id",
        "name": "/login",
        "headers": {"Practice-Version": "2", "Authorization": "Basic x"},
    }
    provider = make_provider(identity=identity)
    assert await ask(egress, provider) == Account("7", "ada")
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == (method, "/me", b"")
    assert asked.headers["authorization"] == "Bearer the-access-token"
    assert asked.headers["practice-version"] == "2"


async def test_a_whoami_by_query(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """The query of the entry goes as a JSON object, word for word."""
    server.answers["/graphql"] = json_answer({"data": {"viewer": {"id": "u-1"}}})
    query = {"query": "{ viewer { id } }"}
    identity = {"url": f"{server.origin}/graphql", "method": "POST", "body": query, "id": "/data/viewer/id"}
    assert await ask(egress, make_provider(identity=identity)) == Account("u-1", None)
    (asked,) = server.asked
    assert json.loads(asked.body) == query
    assert asked.headers["content-type"] == "application/json"


async def test_a_signature_covers_the_query(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """Where a scheme signs the body, it is the one that is sent."""
    server.answers["/me"] = json_answer({"id": "u-1"})
    provider = make_provider(
        type="custom",
        fields={"key": {"label": "Key"}},
        computed={"digest": {"function": "hash", "over": "{body_sha256} {body}"}},
        headers={"X-Digest": "{digest}"},
        identity={"url": f"{server.origin}/me", "method": "POST", "body": {"query": "{ me }"}, "id": "/id"},
    )
    await ask(egress, provider)
    (asked,) = server.asked
    signed = f"{hashlib.sha256(asked.body).hexdigest()} {asked.body.decode()}"
    assert asked.headers["x-digest"] == hashlib.sha256(signed.encode()).hexdigest()


async def test_a_provider_without_whoami(server: PracticeServer, egress: Egress, make_provider: MakeProvider) -> None:
    """Nobody is asked, and nothing is known."""
    assert await ask(egress, make_provider()) is None
    assert server.asked == []


@pytest.mark.parametrize(
    ("credential_type", "scopes", "asked"),
    [
        ("oauth2", ["openid"], True),
        ("oauth2", ["profile", "openid", "email"], True),
        ("oauth2", ["profile"], False),
        ("oauth2", [], False),
        ("client_credentials", ["openid"], False),
        ("client_credentials", [], False),
    ],
)
async def test_whom_a_discovered_userinfo_serves(
    server: PracticeServer,
    egress: Egress,
    make_provider: MakeProvider,
    credential_type: str,
    scopes: list[str],
    asked: bool,
) -> None:
    """OpenID Connect Core §5.3: a person's token with openid. For all others nobody is asked, and nothing is known;
    a whoami that the entry names itself is asked for every token."""
    server.answers["/userinfo"] = json_answer({"sub": "u-1", "email": "ada@x.test"})
    found = Metadata(server.origin, userinfo_endpoint=f"{server.origin}/userinfo")
    provider = make_provider(issuer=server.origin)
    answer = await ask(egress, provider, metadata=found, credential_type=credential_type, scopes=scopes)
    assert answer == (Account("u-1", "ada@x.test") if asked else None)
    assert len(server.asked) == asked
    written = make_provider(issuer=server.origin, identity={"url": f"{server.origin}/userinfo", "id": "/sub"})
    answer = await ask(egress, written, metadata=found, credential_type=credential_type, scopes=scopes)
    assert answer == Account("u-1", None)


async def test_a_token_that_fits_no_header_is_not_sent(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """An imported token may be anything; it can't smuggle a header in, and isn't quoted."""
    provider = make_provider(identity={"url": f"{server.origin}/me", "id": "/id"})
    with pytest.raises(InvalidRequest) as caught:
        await ask(egress, provider, access_token="canary\r\nx-injected: 1")
    assert "canary" not in str(caught.value)
    assert server.asked == []


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"id": "u-1", "email": "ada@x.test", "name": "Ada"}, Account("u-1", "ada@x.test")),
        ({"id": "u-1", "name": "Ada"}, Account("u-1", "Ada")),
        ({"id": "u-1", "email": "", "name": None}, Account("u-1", None)),
        ({"id": "u-1", "email": {"x": 1}, "name": True}, Account("u-1", None)),
        ({"id": 0}, Account("0", None)),
        ({"id": 12345678901234567890}, Account("12345678901234567890", None)),
        ({"id": " u-1\n"}, Account("u-1", None)),
        ({"id": "u-1", "name": "Zo\u00eb \x1b\u202e\ud800" + "x" * 300}, Account("u-1", "Zo\u00eb " + "x" * 196)),
    ],
)
def test_what_is_read(user: dict[str, object], expected: Account) -> None:
    """Numbers are ids too; a name is the first there is, printable and short."""
    assert account({"user": user}) == expected


@pytest.mark.parametrize(
    "user", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": 1.5}, {"id": {}}, {"id": "x" * 256}, 7]
)
def test_an_answer_without_an_id(user: object) -> None:
    """An account that can't be told apart is no account."""
    with pytest.raises(ProviderError, match="id"):
        account({"user": user})


@pytest.mark.parametrize("body", [b"", b"{}", b'{"error": "anything"}', b"<html>"])
def test_a_401_means_the_token(body: bytes) -> None:
    """RFC 6750 §3.1, whatever the provider writes along with it."""
    with pytest.raises(ProviderRefused) as caught:
        account(status=401, body=body)
    assert (caught.value.error, caught.value.http_status) == ("invalid_token", 401)


@pytest.mark.parametrize(("status", "ok"), [(200, False), (403, None)])
def test_an_error_is_named(status: int, ok: bool | None) -> None:
    """A refusal in a 200 is one, and the provider's own code is kept."""  # P3
    with pytest.raises(ProviderRefused) as caught:
        account({"ok": ok, "error": "token_revoked", "user": {"id": "u-1"}}, status=status)
    assert (caught.value.error, caught.value.http_status) == ("token_revoked", status)


@pytest.mark.parametrize("status", [200, 400, 403])
@pytest.mark.parametrize(
    ("where", "document"),
    [
        ("/error", {"ok": False, "error": "dead_token"}),
        ("/Error/Code", {"Error": {"Code": "dead_token", "Message": "no"}}),
        ("/errors/0/extensions/code", {"errors": [{"message": "no", "extensions": {"code": "dead_token"}}]}),
    ],
)
def test_the_provider_s_own_word_for_a_dead_token_is_understood(
    status: int, where: str, document: dict[str, object]
) -> None:
    """A code that the entry lists reads as ``invalid_token``, whatever the status; others keep their names."""  # P7
    rule = replace(RULE, error=where, invalid_token=("dead_token",))
    with pytest.raises(ProviderRefused) as caught:
        parse_account(rule, inbound(document, status=status), secrets=(), now=NOW)
    assert (caught.value.error, caught.value.http_status) == ("invalid_token", status)
    rule = replace(rule, invalid_token=("expired_token",))
    with pytest.raises(ProviderRefused) as caught:
        parse_account(rule, inbound(document, status=status), secrets=(), now=NOW)
    assert caught.value.error == "dead_token"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, b"no", ProviderError),
        (404, b"", ProviderError),
        (302, b"", ProviderError),
        (200, b"<html>", ProviderError),
        (200, b"[]", ProviderError),
        (429, b"", ProviderBusy),
        (500, b'{"error": "invalid_token"}', OutcomeUnknown),
    ],
)
def test_other_failures_say_nothing_about_the_token(status: int, body: bytes, error: type[Exception]) -> None:
    """Only a refusal is a refusal."""
    with pytest.raises(error) as caught:
        account(status=status, body=body)
    assert not isinstance(caught.value, ProviderRefused)


@pytest.mark.parametrize("secret", ["the-access-token", "the-refresh-token"])
def test_no_credential_becomes_an_account(secret: str) -> None:
    """Neither as its id, nor as its name, nor in what is said of a refusal: all are stored and shown in the clear."""
    # K1
    with pytest.raises(ProviderError) as refused:
        account({"user": {"id": secret, "name": "ada"}})
    assert secret not in refused.value.detail
    assert account({"user": {"id": "7", "name": f"x {secret}"}}).name is None
    with pytest.raises(ProviderRefused) as refused:
        account({"error": "nope", "error_description": f"grant {secret} is dead"}, status=403)
    assert secret not in refused.value.detail

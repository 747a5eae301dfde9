"""The device authorization grant: what is sent, and what the answers decide."""

from typing import Any

import pytest

from broker.errors import (
    BrokerError,
    NotSent,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
)
from broker.upstream.client_auth import basic
from broker.upstream.device_grant import DeviceCodes, Waiting, poll, start
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.token_response import TokenSet
from tests.upstream.conftest import NOW, MakeProvider
from tests.upstream.device_codes import ANSWER, CODES
from tests.upstream.practice_server import PracticeServer, json_answer, practice_server, raw_answer


async def started(
    egress: Egress, make_provider: MakeProvider, *, scopes: tuple[str, ...] = ("a", "b"), **entry: Any
) -> DeviceCodes:
    """The codes that an entry's device grant begins with."""
    provider = make_provider(**entry)
    return await start(egress, lambda: NOW, provider, resolve(provider, {}, None), scopes=scopes)


async def polled(egress: Egress, make_provider: MakeProvider, **entry: Any) -> TokenSet | Waiting:
    """One poll of an entry's device grant."""
    provider = make_provider(**entry)
    endpoints = resolve(provider, {}, None)
    return await poll(egress, lambda: NOW, provider, endpoints, device_code=CODES.device_code, scopes=["a"])


@pytest.fixture
def device(server: PracticeServer, make_provider: MakeProvider) -> MakeProvider:
    """Makes entries that have a device authorization endpoint at the server, which answers the usual."""
    server.answers["/device"] = json_answer(ANSWER)
    return lambda **fields: make_provider(**{"device_authorization_endpoint": f"{server.origin}/device", **fields})


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("client_secret_basic", {}),
        ("client_secret_post", {"client_secret": "client-secret-0123456789"}),
        ("none", {}),
    ],
)
async def test_the_client_says_who_it_is(
    server: PracticeServer, egress: Egress, device: MakeProvider, method: str, sent: dict[str, str]
) -> None:
    """RFC 8628 §3.1: client_id in the body, authentication as at the token endpoint, the scopes as written."""
    assert await started(egress, device, token_endpoint_auth_method=method) == CODES
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", "/device")
    assert asked.form == {"client_id": "client-one", "scope": "a b", **sent}
    header = basic("client-one", "client-secret-0123456789") if method == "client_secret_basic" else None
    assert asked.headers.get("authorization") == header


async def test_what_the_entry_says_about_requests_applies(
    server: PracticeServer, egress: Egress, device: MakeProvider
) -> None:
    """Headers, encoding, separator and the name of the scope parameter, and what every request carries besides."""
    entry: dict[str, Any] = {
        "token_headers": {"X-Version": "7"},
        "token_body": "json",
        "token_params": {"audience": "api"},
        "scope_separator": ",",
        "scope_param": "user_scope",
    }
    await started(egress, device, **entry)
    await started(egress, device, scopes=())
    first, second = server.asked
    assert first.headers["x-version"] == "7"
    assert first.json == {"client_id": "client-one", "user_scope": "a,b", "audience": "api"}
    assert second.form == {"client_id": "client-one"}
    assert second.headers["accept"] == "application/json"


async def test_nothing_is_asked_of_a_provider_without_it(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider
) -> None:
    """No endpoint, no request."""
    with pytest.raises(ProviderError, match="no device authorization endpoint"):
        await started(egress, make_provider)
    assert server.asked == []


async def test_an_entry_that_is_not_ready_asks_nothing(
    server: PracticeServer, egress: Egress, device: MakeProvider
) -> None:
    """Without a secret where one belongs."""
    with pytest.raises(NotSent, match="client_secret missing"):
        await started(egress, device, client_secret=None)
    assert server.asked == []


async def test_a_redirect_takes_no_secret_along(server: PracticeServer, egress: Egress, device: MakeProvider) -> None:
    """30x at the device authorization endpoint is an answer."""  # E3
    async with practice_server() as other:
        location = {"location": f"{other.origin}/device"}
        for status in (301, 307, 308):
            server.answers["/device"] = raw_answer(status, headers=location)
            with pytest.raises(ProviderError, match="redirects"):
                await started(egress, device)
        assert other.asked == []


@pytest.mark.parametrize("status", [200, 400, 401, 403])
async def test_a_refusal_to_begin(server: PracticeServer, egress: Egress, device: MakeProvider, status: int) -> None:
    """The provider's code, also with status 200; and not what it repeats of secrets."""  # P3 K1
    said = {"error": "invalid_scope", "error_description": "no: client-secret-0123456789"}
    server.answers["/device"] = json_answer(said, status)
    with pytest.raises(ProviderRefused) as caught:
        await started(egress, device)
    assert (caught.value.error, caught.value.http_status) == ("invalid_scope", status)
    assert "client-secret" not in str(caught.value)


async def test_a_refusal_beside_codes_shows_none(server: PracticeServer, egress: Egress, device: MakeProvider) -> None:
    """A device code in the description of an error stays out of ours."""  # P3 K1
    server.answers["/device"] = json_answer({**ANSWER, "error": "x", "error_description": ANSWER["device_code"]})
    with pytest.raises(ProviderRefused) as caught:
        await started(egress, device)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (raw_answer(404), ProviderError),
        (raw_answer(200, b"<html>", {"content-type": "text/html"}), ProviderError),
        (json_answer([ANSWER]), ProviderError),
        (json_answer(ANSWER, 400), ProviderError),
        (raw_answer(500), OutcomeUnknown),
        (raw_answer(503, headers={"retry-after": "7"}), ProviderBusy),
        (raw_answer(429), ProviderBusy),
        (b"", OutcomeUnknown),
    ],
)
async def test_no_beginning(
    server: PracticeServer, egress: Egress, device: MakeProvider, answer: bytes, error: type[BrokerError]
) -> None:
    """Nonsense is nonsense, patience is patience, silence is silence."""  # P2
    server.answers["/device"] = answer
    with pytest.raises(error) as caught:
        await started(egress, device)
    assert type(caught.value) is error


async def test_a_poll_that_brings_tokens(server: PracticeServer, egress: Egress, device: MakeProvider) -> None:
    """RFC 8628 §3.4: the grant type and the device code, once."""
    server.answers["/token"] = json_answer({"access_token": "at-1", "refresh_token": "rt-1", "expires_in": 60})
    assert await polled(egress, device) == TokenSet("at-1", "rt-1", 60, ("a",))
    assert [asked.form for asked in server.asked] == [
        {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": CODES.device_code}
    ]


@pytest.mark.parametrize("waiting", list(Waiting))
@pytest.mark.parametrize("status", [200, 400, 403, 428])
async def test_every_state_of_waiting(
    server: PracticeServer, egress: Egress, device: MakeProvider, waiting: Waiting, status: int
) -> None:
    """RFC 8628 §3.5, under whatever status the provider says it."""  # D2
    server.answers["/token"] = json_answer({"error": str(waiting), "interval": 10}, status)
    assert await polled(egress, device) is waiting


async def test_a_providers_own_words_are_data(server: PracticeServer, egress: Egress, device: MakeProvider) -> None:
    """The entry says what they mean; those it doesn't name are refusals."""  # D2
    words = {"token_response": {"device_errors": {"authorization_declined": "access_denied", "not_yet": "slow_down"}}}
    for word, meaning in (("authorization_declined", Waiting.DENIED), ("not_yet", Waiting.SLOW_DOWN)):
        server.answers["/token"] = json_answer({"error": word}, 400)
        assert await polled(egress, device, **words) is meaning
    with pytest.raises(ProviderRefused):
        await polled(egress, device)


async def test_the_words_may_stand_elsewhere(server: PracticeServer, egress: Egress, device: MakeProvider) -> None:
    """Where the entry says that errors are."""
    server.answers["/token"] = json_answer({"status": 400, "message": "authorization_pending"}, 400)
    assert await polled(egress, device, token_response={"error": "/message"}) is Waiting.PENDING


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "unsupported_grant_type", "bad_verification_code"])
async def test_every_other_refusal_of_a_poll(
    server: PracticeServer, egress: Egress, device: MakeProvider, code: str
) -> None:
    """Raised with its code, without the device code."""  # K1
    said = {"error": code, "error_description": f"what is {CODES.device_code}?"}
    server.answers["/token"] = json_answer(said, 400)
    with pytest.raises(ProviderRefused) as caught:
        await polled(egress, device)
    assert caught.value.error == code
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (raw_answer(500), OutcomeUnknown),
        (json_answer({"error": "authorization_pending"}, 500), OutcomeUnknown),
        (json_answer({"error": "slow_down"}, 429, {"retry-after": "9"}), ProviderBusy),
        (json_answer({"scope": "a"}), OutcomeUnknown),
        (raw_answer(400), ProviderError),
        (b"", OutcomeUnknown),
    ],
)
async def test_a_poll_without_a_verdict(
    server: PracticeServer, egress: Egress, device: MakeProvider, answer: bytes, error: type[BrokerError]
) -> None:
    """Never taken for a denial."""  # P2 P3
    server.answers["/token"] = answer
    with pytest.raises(error) as caught:
        await polled(egress, device)
    assert type(caught.value) is error

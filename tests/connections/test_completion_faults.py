"""Completing while the provider is out of reach: what can be tried again can, what can't is said, nothing is half."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from broker.providers import Registry, load_providers
from tests.journey import NOTHING, MakeClient, exchanges, session_of
from tests.world import Person, ServiceClient, parameters_of

_ENTRIES = """
  far-token:
    extends: practice
    token_endpoint: ${GATEWAY}/token
  far-identity:
    extends: practice
    identity: {url: "${GATEWAY}/whoami", id: /sub, name: /email}
"""


class Gateway:
    """A way to the practice provider that is closed at first."""

    def __init__(self, target: str) -> None:
        self._target = httpx2.URL(target)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # bound and not listening: who connects is refused
        self._server: asyncio.Server | None = None
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def open(self, *, loses_answers: bool = False) -> None:
        """Let requests through; with ``loses_answers`` the provider does its work and nobody hears of it."""

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection(self._target.host, self._target.port)

            async def forward() -> None:
                # Head and body may come in pieces.
                while piece := await reader.read(65_536):
                    back.write(piece)

            forwarding = asyncio.create_task(forward())
            answer = await there.read()  # to its end: the broker asks for the connection to be closed
            if not loses_answers:
                writer.write(answer)
                await writer.drain()
            back.close()
            writer.close()
            await forwarding

        self._server = await asyncio.start_server(carry, sock=self._socket)

    async def ask_for_patience(self, *, seconds: int) -> None:
        """Answer everything with 429; the provider hears of nothing."""

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 429 Too Many\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(refuse, sock=self._socket.dup())

    async def relent(self) -> None:
        """No longer ask for patience."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def aclose(self) -> None:
        """Close it for good."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._socket.close()


@pytest.fixture
async def gateway(sandbox_url: str) -> AsyncIterator[Gateway]:
    """A gateway in front of the practice provider."""
    gateway = Gateway(sandbox_url)
    yield gateway
    await gateway.aclose()


@pytest.fixture
def providers(sandbox_url: str, gateway: Gateway, tmp_path: Path) -> Registry:
    """The practice provider, with entries that reach a part of it through the gateway."""
    known = Path(__file__).parent.parent / "providers.yaml"
    file = tmp_path / "providers.yaml"
    file.write_text(known.read_text() + _ENTRIES)
    return load_providers(file, {"PRACTICE": sandbox_url, "GATEWAY": gateway.url})


@pytest.fixture
async def app(make_client: MakeClient, sandbox: httpx2.Client) -> ServiceClient:
    """The app."""
    return await make_client(completions=("browser",))


async def test_unreachable_now_completed_later(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, gateway: Gateway
) -> None:
    """Nothing reached the provider: 503, the session still awaits completion, and the same code completes it later."""
    opened = await app.open_session(provider="far-token")
    code = (await Person(http).connect(opened["connect_url"]))["completion_code"]
    for _ in range(2):
        refused = await app.complete(opened["id"], code)
        assert refused.status_code == 503
        assert refused.json()["code"] == "provider_unavailable"
        assert int(refused.headers["retry-after"]) > 0
    assert (await session_of(app, opened["id"]))["status"] == "awaiting_completion"
    assert exchanges(sandbox) == NOTHING
    await gateway.open()
    completed = await app.complete(opened["id"], code)
    assert completed.status_code == 200
    assert exchanges(sandbox) == (1, 0)


async def test_a_busy_provider_is_asked_again_later(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, gateway: Gateway
) -> None:
    """It did not look at the code: 503 with its own Retry-After, the session waits on, and the code completes it."""
    # P8
    await gateway.ask_for_patience(seconds=17)
    opened = await app.open_session(provider="far-token")
    code = (await Person(http).connect(opened["connect_url"]))["completion_code"]
    for _ in range(2):
        refused = await app.complete(opened["id"], code)
        assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
        assert refused.headers["retry-after"] == "17"
    assert (await session_of(app, opened["id"]))["status"] == "awaiting_completion"
    assert exchanges(sandbox) == NOTHING
    await gateway.relent()
    await gateway.open()
    assert (await app.complete(opened["id"], code)).status_code == 200
    assert exchanges(sandbox) == (1, 0)


async def test_a_provider_that_is_busy_after_the_code_was_redeemed(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, gateway: Gateway
) -> None:
    """When only the identity call is put off, the code is used up: the session is over, the tokens are given back."""
    await gateway.ask_for_patience(seconds=17)
    opened = await app.open_session(provider="far-identity")
    code = (await Person(http).connect(opened["connect_url"]))["completion_code"]
    assert (await app.complete(opened["id"], code)).status_code == 503
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "provider_unavailable")
    assert (await app.complete(opened["id"], code)).status_code == 409
    assert exchanges(sandbox) == (1, 0)
    assert sandbox.get("/counters").json()["revoke"] == 1


async def test_many_at_once_while_unreachable(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, gateway: Gateway
) -> None:
    """Ten callers at once hear the same, and none of them spoils the session for later."""
    opened = await app.open_session(provider="far-token")
    code = (await Person(http).connect(opened["connect_url"]))["completion_code"]
    answers = await asyncio.gather(*(app.complete(opened["id"], code) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {503}
    await gateway.open()
    assert (await app.complete(opened["id"], code)).status_code == 200
    assert exchanges(sandbox) == (1, 0)


async def test_a_lost_answer_is_not_repeated(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, gateway: Gateway
) -> None:
    """The code was redeemed and nobody knows: 503, the session is over, and the code is never sent a second time."""
    await gateway.open(loses_answers=True)
    opened = await app.open_session(provider="far-token")
    code = (await Person(http).connect(opened["connect_url"]))["completion_code"]
    assert (await app.complete(opened["id"], code)).status_code == 503
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "provider_unavailable")
    assert (await app.complete(opened["id"], code)).status_code == 409
    assert exchanges(sandbox) == (1, 0)
    assert sandbox.get("/counters").json()["reuse_detected"] == 0


async def test_no_connection_of_an_unknown_account(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, gateway: Gateway
) -> None:
    """Redeemed, but whose account it is can't be asked: no connection, and the tokens are given back."""
    opened = await app.open_session(provider="far-identity")
    code = (await Person(http).connect(opened["connect_url"]))["completion_code"]
    assert (await app.complete(opened["id"], code)).status_code == 503
    assert (await session_of(app, opened["id"]))["status"] == "failed"
    assert (await app.complete(opened["id"], code)).status_code == 409
    assert (await app.call("GET", "/v1/connections")).json()["items"] == []
    assert exchanges(sandbox) == (1, 0)
    assert sandbox.get("/counters").json()["revoke"] == 1


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("provider", ["far-token", "far-identity"])
async def test_completion_by_the_browser_works_or_is_over(
    app: ServiceClient, http: httpx2.AsyncClient, sandbox: httpx2.Client, gateway: Gateway, provider: str, busy: bool
) -> None:
    """The app hears of it at its return address, and the session doesn't wait for what nobody can do any more."""
    if busy:
        await gateway.ask_for_patience(seconds=17)
    person = Person(http)
    opened = await app.open_session(provider=provider, completion="browser", state="s")
    returned = await person.arrive(await person.approve(opened["connect_url"]))
    assert parameters_of(returned.headers["location"]) == {
        "connect_session": opened["id"],
        "error": "provider_unavailable",
        "state": "s",
    }
    session = await session_of(app, opened["id"])
    assert (session["status"], session["error"]) == ("failed", "provider_unavailable")

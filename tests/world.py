"""The people and programs around the broker, as tests need them: a service, a person with a browser, a clock."""

import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

PUBLIC_URL = "http://localhost:8400"
RETURN_URL = "https://app.example/connected"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
REFERENCE_TYPE = "urn:broker:token-type:reference"


class FakeClock:
    """A clock that starts at the present and moves when told. Milliseconds."""

    def __init__(self) -> None:
        self.now = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, *, seconds: float) -> None:
        """Let time pass."""
        self.now += int(seconds * 1000)


class ServiceClient:
    """A backend that is a client of the broker."""

    def __init__(self, http: httpx2.AsyncClient, client_id: str, secret: str) -> None:
        self.http = http
        self.client_id = client_id
        self.secret = secret
        self._token = ""

    async def token(self, **parameters: str) -> httpx2.Response:
        """``POST /oauth/token`` as this client, by ``client_secret_basic``."""
        return await self.http.post("/oauth/token", data=parameters, auth=(self.client_id, self.secret))

    async def broker_token(self) -> str:
        """A broker token with all scopes of the client; asked for once."""
        if not self._token:
            answer = await self.token(grant_type="client_credentials")
            self._token = answer.raise_for_status().json()["access_token"]
        return self._token

    async def call(self, method: str, path: str, json: Any = None, **options: Any) -> httpx2.Response:
        """A call of the JSON face."""
        headers = {"Authorization": f"Bearer {await self.broker_token()}", **options.pop("headers", {})}
        return await self.http.request(method, path, json=json, headers=headers, **options)

    async def redeem(self, reference: str, **parameters: str) -> httpx2.Response:
        """Exchange a reference for the access token (RFC 8693)."""
        return await self.token(
            grant_type=TOKEN_EXCHANGE, subject_token=reference, subject_token_type=REFERENCE_TYPE, **parameters
        )

    async def open_session(self, **body: Any) -> dict[str, Any]:
        """Open a connect session that must succeed."""
        answer = await self.call("POST", "/v1/connect-sessions", {"provider": "practice", "subject": "ann", **body})
        assert answer.status_code == 201, answer.text
        opened: dict[str, Any] = answer.json()
        return opened

    async def complete(self, session_id: str, completion_code: str, subject: str = "ann") -> httpx2.Response:
        """Complete a session as the app in which ``subject`` is signed in."""
        body = {"completion_code": completion_code, "subject": subject}
        return await self.call("POST", f"/v1/connect-sessions/{session_id}/complete", body)

    async def connect(self, person: "Person", **body: Any) -> dict[str, Any]:
        """The whole browser flow; answers the connection."""
        opened = await self.open_session(**body)
        returned = await person.connect(opened["connect_url"])
        completed = await self.complete(opened["id"], returned["completion_code"], body.get("subject", "ann"))
        assert completed.status_code == 200, completed.text
        connection: dict[str, Any] = completed.json()["connection"]
        return connection

    async def fetch(self, connection_id: str, **body: Any) -> httpx2.Response:
        """``POST /v1/connections/{id}/token``."""
        return await self.call("POST", f"/v1/connections/{connection_id}/token", body)


class Person:
    """A person with a browser that keeps cookies, at the broker (in this process) and at the provider (over HTTP)."""

    def __init__(self, broker: httpx2.AsyncClient, account: str = "alice@practice.example") -> None:
        # A browser of their own: cookies are not shared with anybody.
        self.broker = httpx2.AsyncClient(transport=broker._transport, base_url=broker.base_url)
        self.account = account

    async def press(self, connect_url: str, decision: str = "continue", **options: Any) -> httpx2.Response:
        """Press a button on the connect page."""
        headers = {"Origin": PUBLIC_URL, **options.pop("headers", {})}
        return await self.broker.post(connect_url, data={"decision": decision}, headers=headers, **options)

    async def consent(self, authorize_url: str, decision: str = "allow") -> str:
        """Answer the provider's consent page; answers the address the provider sends the browser to."""
        async with httpx2.AsyncClient(trust_env=False) as provider:
            page = await provider.get(authorize_url)
            form = {
                "form_token": re.findall(r'name="form_token" value="([^"]+)"', page.text)[0],
                "account": self.account,
                "scope": re.findall(r'name="scope" value="([^"]+)" checked', page.text),
                "decision": decision,
            }
            answer = await provider.post(str(page.url.copy_with(query=None)), data=form)
        return answer.headers["location"]

    async def approve(self, connect_url: str, decision: str = "allow") -> str:
        """Go to the provider and answer there; answers the callback address, not yet visited."""
        left = await self.press(connect_url)
        assert left.status_code == 303, left.text
        return await self.consent(left.headers["location"], decision)

    async def arrive(self, callback_url: str, **options: Any) -> httpx2.Response:
        """Come back from the provider."""
        return await self.broker.get(callback_url, **options)

    async def connect(self, connect_url: str) -> dict[str, str]:
        """The whole way; answers the parameters that come to the app's return address."""
        arrived = await self.arrive(await self.approve(connect_url))
        assert arrived.status_code == 303, arrived.text
        return parameters_of(arrived.headers["location"])


def parameters_of(address: str) -> dict[str, str]:
    """The query parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}

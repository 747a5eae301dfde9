"""A machine with no screen: a client of the broker that logs in with a device code, as a program does."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from broker.app.heart import Heart
from broker.connections.device_approval import Approved
from broker.connections.journey import Departure
from tests.world import Person, parameters_of

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


MakeMachine = Callable[..., Awaitable["Machine"]]
"""The ``make_machine`` fixture."""


class Machine:
    """A device client, public if it has no secret."""

    def __init__(self, http: httpx2.AsyncClient, client_id: str, secret: str = "") -> None:
        self.http = http
        self.client_id = client_id
        self.secret = secret
        self.codes: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}

    async def post(self, path: str, **form: str) -> httpx2.Response:
        """A call of the OAuth face."""
        if self.secret:
            return await self.http.post(path, data=form, auth=(self.client_id, self.secret))
        return await self.http.post(path, data={"client_id": self.client_id, **form})

    async def ask(self, provider: str = "practice", **form: str) -> httpx2.Response:
        """Begin a login (RFC 8628 §3.1)."""
        return await self.post("/oauth/device_authorization", provider=provider, **form)

    async def begin(self, provider: str = "practice", **form: str) -> dict[str, Any]:
        """Begin a login, which must be possible."""
        answer = await self.ask(provider, **form)
        assert answer.status_code == 200, answer.text
        self.codes = answer.json()
        return self.codes

    async def poll(self, **form: str) -> httpx2.Response:
        """Ask whether the person has agreed."""
        parameters = {"grant_type": DEVICE_CODE, "device_code": self.codes.get("device_code", ""), **form}
        return await self.post("/oauth/token", **parameters)

    async def collect(self) -> dict[str, Any]:
        """Collect the login, which must be there."""
        answer = await self.poll()
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        return self.tokens

    async def refresh(self, refresh_token: str | None = None, **form: str) -> httpx2.Response:
        """Use a refresh token: the present one if none is given."""
        used = refresh_token or self.tokens["refresh_token"]
        answer = await self.post("/oauth/token", **{"grant_type": "refresh_token", "refresh_token": used, **form})
        if answer.status_code == 200 and refresh_token is None:
            self.tokens = answer.json()
        return answer

    async def call(self, method: str, path: str, json: Any = None) -> httpx2.Response:
        """A call of the JSON face, with the machine's own token."""
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return await self.http.request(method, path, json=json, headers=headers)

    async def fetch(self, connection_id: str | None = None) -> httpx2.Response:
        """Fetch an access token: of its own connection, if no other one is named."""
        path = f"/v1/connections/{connection_id or self.tokens['connection_id']}/token"
        return await self.call("POST", path, {})

    async def exchange(self, token: str | None = None, **form: str) -> httpx2.Response:
        """The standard token exchange (RFC 8693), with the machine's own token."""
        parameters = {"subject_token": token or self.tokens["access_token"], "subject_token_type": ACCESS_TOKEN}
        return await self.post("/oauth/token", grant_type=TOKEN_EXCHANGE, **{**parameters, **form})

    async def log_out(self, token: str | None = None) -> httpx2.Response:
        """Take its token back."""
        return await self.post("/oauth/revoke", token=token or self.tokens["refresh_token"])


async def depart(heart: Heart, user_code: str) -> Departure:
    """The person agrees on our own page."""
    authorization, provider = await heart.devices.approvals.find(user_code)
    return await heart.devices.approvals.approve(authorization, provider)


async def approve(heart: Heart, person: Person, user_code: str) -> Approved:
    """The person agrees on our own page and at the provider, and comes back: as the pages do it, without them."""
    departure = await depart(heart, user_code)
    return await arrive(heart, departure, await person.consent(departure.url))


async def arrive(heart: Heart, departure: Departure, callback_url: str) -> Approved:
    """The person comes back from the provider."""
    answer = parameters_of(callback_url)
    name = callback_url.partition("?")[0].rpartition("/")[2]
    session, _ = await heart.arrivals.find(name, answer["state"])
    arrival = await heart.arrivals.arrive(session, answer, departure.browser_secret)
    return await heart.devices.approvals.arrived(arrival.session, request_id="req_of_the_browser")

"""An entry and its provider, as a test of both sees them."""

from typing import Any

import httpx2

from broker.providers import Provider
from tests.templates.quirks import Quirks
from tests.world import Person, ServiceClient, parameters_of


class Played:
    """The practice provider in the guise of one entry's provider, and the app that connects to it."""

    def __init__(self, sandbox: httpx2.Client, app: ServiceClient, provider: Provider, quirks: Quirks) -> None:
        self.sandbox = sandbox
        self.app = app
        self.provider = provider
        self.quirks = quirks
        self.person = Person(app.http)
        told = sandbox.put(f"/control/guises/{provider.name}", json=quirks.description)
        assert told.status_code == 200, told.text

    def seen(self) -> dict[str, Any]:
        """What the provider was asked, what people allowed, what it refused."""
        seen: dict[str, Any] = self.sandbox.get(f"/control/guises/{self.provider.name}").raise_for_status().json()
        return seen

    def order(self, **order: object) -> None:
        """Have something happen at the provider."""
        self.sandbox.post(f"/control/guises/{self.provider.name}", json=order).raise_for_status()

    @property
    def scopes(self) -> list[str]:
        """What is asked for: everything, so that a wrong separator shows."""
        return list(self.quirks.scopes or self.provider.scopes)

    @property
    def device_scopes(self) -> list[str]:
        """What a device may ask for."""
        allowed = self.provider.device.scope_allowlist
        return [scope for scope in self.scopes if allowed is None or scope in allowed]

    async def opened(self, *, by_default: bool = False) -> dict[str, Any]:
        """A connect session for all scopes, or for those that are asked for by default."""
        wanted: dict[str, Any] = {"provider": self.provider.name, "parameters": dict(self.quirks.parameters)}
        if self.scopes and not by_default:
            wanted["scopes"] = self.scopes
        return await self.app.open_session(**wanted)

    async def approve(self, opened: dict[str, Any], decision: str = "allow") -> str:
        """The person answers at the provider; the callback address, not yet visited."""
        left = await self.person.press(opened["connect_url"])
        assert left.status_code == 303, left.text
        shown = self.sandbox.get(left.headers["location"])
        assert shown.status_code == 200, self.seen()["refusals"] or shown.text
        return await self.person.consent(left.headers["location"], decision)

    async def connected(self, *, by_default: bool = False) -> dict[str, Any]:
        """The whole way; the connection."""
        opened = await self.opened(by_default=by_default)
        arrived = await self.person.arrive(await self.approve(opened))
        returned = parameters_of(arrived.headers["location"])
        assert "completion_code" in returned, (returned, self.seen()["refusals"])
        completed = await self.app.complete(opened["id"], returned["completion_code"])
        assert completed.status_code == 200, (completed.text, self.seen()["refusals"])
        connection: dict[str, Any] = completed.json()["connection"]
        return connection

    async def create(self, credentials: dict[str, str]) -> httpx2.Response:
        """Hand a credential in."""
        order = {"provider": self.provider.name, "subject": "ann", "credentials": credentials}
        return await self.app.call("POST", "/v1/connections", {**order, "parameters": dict(self.quirks.parameters)})

    async def made(self) -> dict[str, Any]:
        """A connection, the way this entry's are made."""
        if not self.quirks.handed_in:
            return await self.connected()
        answer = await self.create(dict(self.quirks.handed_in[0]))
        assert answer.status_code == 201, (answer.text, self.seen()["refusals"])
        connection: dict[str, Any] = answer.json()
        return connection

    async def shown(self, connection: dict[str, Any]) -> dict[str, Any]:
        """The connection as it is now."""
        shown: dict[str, Any] = (await self.app.call("GET", f"/v1/connections/{connection['id']}")).json()
        return shown

    async def refresh(self, connection: dict[str, Any]) -> httpx2.Response:
        """Have its token refreshed now."""
        return await self.app.call("POST", f"/v1/connections/{connection['id']}/refresh")

    def at(self, address: str) -> str:
        """Where an address of the provider is here."""
        return f"{str(self.sandbox.base_url).rstrip('/')}/as/{self.provider.name}/{address}"

"""``/device/logins/{handle}``: a person's own page about a machine that they logged in, and the button that ends that.

The handle in the address is the proof: it was shown once, on the page at the end of the login.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.access.clients import Clients
from broker.access.limits import Limits
from broker.clock import Clock
from broker.connections.managed_devices import ManagedDevices
from broker.errors import NotFound
from broker.http.reading import read_body
from broker.models.device import DeviceSession
from broker.providers import Registry
from broker.vault.records import Records
from broker.web import device_pages
from broker.web.browser import BrowserBinding
from broker.web.device_endings import device_error_page
from broker.web.endings import FORM, page
from broker.web.moments import moment

_PATH: Final = "/device/logins/{handle}"


def page_about(handle: str) -> str:
    """Where the page is that this handle opens."""
    return _PATH.format(handle=handle)


class DeviceLoginPages:
    """A machine that is logged in, as the person sees it who approved."""

    def __init__(
        self,
        managed: ManagedDevices,
        records: Records,
        clients: Clients,
        providers: Registry,
        binding: BrowserBinding,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._managed = managed
        self._records = records
        self._clients = clients
        self._providers = providers
        self._binding = binding
        self._limits = limits
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes of this page."""
        show = page(self._show, self._limits.page, device_error_page)
        end = page(self._end, self._limits.button, device_error_page)
        return [
            Route(_PATH, show, methods=["GET"], name=f"GET {_PATH}"),
            Route(_PATH, end, methods=["POST"], name=f"POST {_PATH}"),
        ]

    async def _show(self, request: Request) -> Response:
        handle = request.path_params["handle"]
        session = await self._managed.session(handle)
        if session is None:
            return device_pages.uncollected_page(action=page_about(handle))
        return await self._about(handle, session)

    async def _about(self, handle: str, session: DeviceSession) -> Response:
        connection = await self._records.read(session.connection_id)
        client = await self._clients.read(session.client_id)
        if connection is None:
            raise NotFound("no machine is logged in by this page")
        known, now = connection.provider in self._providers, self._clock()
        return device_pages.login_page(
            action=page_about(handle),
            app_name=client.name if client else "an app that is not registered any more",
            provider_name=self._providers.get(connection.provider).display_name if known else connection.provider,
            account_name=connection.account.name if connection.account else None,
            device_name=session.device_name,
            address=session.address,
            since=moment(session.created_at, now),
            last_used=moment(session.last_used_at, now),
        )

    async def _end(self, request: Request) -> Response:
        self._binding.check_own_form(request)
        # There is nothing in it; but what is no form of a browser is refused here as everywhere.
        await read_body(request, FORM)
        await self._managed.end(request.path_params["handle"])
        return device_pages.logged_out_page()

"""``/connect/{handle}``: the page that says who asks for what, and the button that leaves for the provider."""

from collections.abc import Mapping
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from broker.access.limits import Limits
from broker.connections.journey import Journey
from broker.connections.opening import Opening
from broker.errors import BrokerError, InvalidRequest, ProviderError, ProviderUnavailable
from broker.http.reading import parse_form, read_body
from broker.models.session import Completion, ConnectSession
from broker.providers import Provider
from broker.web import pages
from broker.web.browser import BrowserBinding
from broker.web.device_endings import device_error_page
from broker.web.device_return import DeviceReturns
from broker.web.endings import FORM, back_to_app, page, return_host
from broker.web.form import CredentialForms
from broker.web.orderer import Orderers

_PATH: Final = "/connect/{handle}"


log = structlog.get_logger(__name__)


class ConnectPages:
    """The start of a connection in a browser."""

    def __init__(
        self,
        opening: Opening,
        journey: Journey,
        forms: CredentialForms,
        devices: DeviceReturns,
        orderers: Orderers,
        binding: BrowserBinding,
        limits: Limits,
    ) -> None:
        self._opening = opening
        self._journey = journey
        self._forms = forms
        self._devices = devices
        self._orderers = orderers
        self._binding = binding
        self._limits = limits

    def routes(self) -> list[Route]:
        """The routes of this page."""
        return [
            Route(_PATH, page(self._show, self._limits.page), methods=["GET"], name=f"GET {_PATH}"),
            Route(_PATH, page(self._press, self._limits.button), methods=["POST"], name=f"POST {_PATH}"),
        ]

    async def _show(self, request: Request) -> Response:
        """Show the page. Changes nothing: mail scanners and link previews open links, too."""
        handle = request.path_params["handle"]
        session, provider = await self._opening.by_handle(handle)
        await self._orderers.check(session)
        self._journey.check_open(session, self._binding.secret(request, session.id))
        if provider.connects_by == "form":
            return self._forms.show(request, session, provider)
        return pages.connect_page(
            action=f"/connect/{handle}",
            app_name=session.client_name,
            provider_name=provider.display_name,
            subject_name=session.subject_name,
            scopes=_sentences(session, provider),
            reconnect=session.reconnect,
            return_host=return_host(session),
        )

    async def _press(self, request: Request) -> Response:
        """Bind the session to this browser and send it to the provider, or take the person's no."""
        self._binding.check_own_form(request)
        form = parse_form(await read_body(request, FORM))
        decision = form.get("decision", "continue")
        if decision not in {"continue", "cancel"}:
            raise InvalidRequest("the form says neither continue nor cancel")
        session, provider = await self._opening.by_handle(request.path_params["handle"])
        try:
            return await self._decided(request, session, provider, form, decision)
        except BrokerError as error:
            if session.completion is not Completion.DEVICE:
                raise
            request.state.refusal = error.detail
            return device_error_page(error, str(request.state.request_id))

    async def _decided(
        self, request: Request, session: ConnectSession, provider: Provider, form: Mapping[str, str], decision: str
    ) -> Response:
        await self._orderers.check_or_end(session)
        if decision == "cancel":
            return await self._cancel(request, session, provider)
        if provider.connects_by == "form":
            return await self._forms.submit(request, session, provider, form)
        return await self._depart(request, session, provider)

    async def _cancel(self, request: Request, session: ConnectSession, provider: Provider) -> Response:
        await self._journey.cancel(session, self._binding.secret(request, session.id))
        if session.completion is Completion.DEVICE:
            response = await self._devices.answer(session, provider, "access_denied", str(request.state.request_id))
        else:
            response = back_to_app(session, error="access_denied") or pages.cancelled_page(
                app_name=session.client_name, provider_name=provider.display_name
            )
        self._binding.release(response, session.id)
        return response

    async def _depart(self, request: Request, session: ConnectSession, provider: Provider) -> Response:
        secret = self._binding.secret(request, session.id)
        try:
            departure = await self._journey.depart(session, provider, secret)
        except (ProviderError, ProviderUnavailable) as error:
            log.warning(
                "connect.not_departed",
                request_id=str(request.state.request_id),
                session_id=session.id,
                provider=provider.name,
                reason=error.detail,
            )
            raise
        # 303, not 307: the provider must not receive the form (RFC 9700 §4.12).
        response = RedirectResponse(departure.url, status_code=303, headers={"Cache-Control": "no-store"})
        self._binding.bind(response, session.id, departure.browser_secret)
        return response


def _sentences(session: ConnectSession, provider: Provider) -> list[tuple[str, str | None]]:
    return [(scope, provider.scopes.get(scope)) for scope in session.scopes]

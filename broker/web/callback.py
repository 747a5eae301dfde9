"""``GET /callback/{provider}``: the redirect URI, one per provider. Takes the browser back and sends it on."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.access.limits import Limits
from broker.connections.arrival import Arrival, Arrivals
from broker.connections.completion import Completions
from broker.errors import BrokerError, InvalidRequest
from broker.http.reading import single_query
from broker.models.session import Completion, ConnectSession
from broker.providers import Provider
from broker.web import pages
from broker.web.browser import BrowserBinding
from broker.web.code import CodePages, to_the_code
from broker.web.completed import completed_here
from broker.web.device_endings import device_error_page
from broker.web.device_return import DeviceReturns
from broker.web.endings import back_to_app, page
from broker.web.orderer import Orderers

_PATH: Final = "/callback/{provider}"
_LONGEST_VALUE: Final = 8192


class CallbackPages:
    """The return of a browser."""

    def __init__(
        self,
        arrivals: Arrivals,
        completions: Completions,
        codes: CodePages,
        devices: DeviceReturns,
        orderers: Orderers,
        binding: BrowserBinding,
        limits: Limits,
    ) -> None:
        self._arrivals = arrivals
        self._codes = codes
        self._devices = devices
        self._completions = completions
        self._orderers = orderers
        self._binding = binding
        self._limits = limits

    def routes(self) -> list[Route]:
        """The route of this page."""
        route = Route(_PATH, page(self._arrive, self._limits.arrival), methods=["GET"], name=f"GET {_PATH}")
        # Starlette adds HEAD, whose answer nobody sees; an answer of a provider is taken in only once.
        route.methods = {"GET"}
        return [route]

    async def _arrive(self, request: Request) -> Response:
        answer = single_query(request)
        if any(len(value) > _LONGEST_VALUE for value in answer.values()):
            raise InvalidRequest("the provider's answer is too long")
        session, provider = await self._arrivals.find(request.path_params["provider"], answer.get("state", ""))
        try:
            return await self._take_in(request, session, provider, answer)
        except BrokerError as error:
            if session.completion is not Completion.DEVICE:
                raise
            request.state.refusal = error.detail
            return device_error_page(error, str(request.state.request_id))

    async def _take_in(
        self, request: Request, session: ConnectSession, provider: Provider, answer: Mapping[str, str]
    ) -> Response:
        # Before the answer is taken in: for an app that is gone no code is kept, and none redeemed.
        await self._orderers.check_or_end(session)
        secret = self._binding.secret(request, session.id)
        arrival = await self._arrivals.arrive(session, answer, secret)
        if arrival.repeated:
            # Refused like every repeat; but who lost the first page on the way reads the code here.
            response = await self._codes.of(arrival.session, request)
            response.status_code = 400
            return response
        response = await self._onwards(request, arrival, provider)
        if secret and arrival.error is None and session.completion is Completion.CODE:
            # Whoever carries the code back may look at it again.
            self._binding.bind(response, session.id, secret, seconds=self._arrivals.time_left(arrival.session) // 1000)
        else:
            self._binding.release(response, session.id)
        return response

    async def _onwards(self, request: Request, arrival: Arrival, provider: Provider) -> Response:
        session, request_id = arrival.session, str(request.state.request_id)
        if session.completion is Completion.DEVICE:
            request.state.refusal = arrival.error
            return await self._devices.answer(session, provider, arrival.error, request_id)
        if arrival.error is not None:
            request.state.refusal = arrival.error
            return back_to_app(session, error=arrival.error) or _refused(session, provider, arrival.error, request_id)
        if session.completion is Completion.BROWSER:
            return await completed_here(self._completions, session, provider, request_id)
        # Without a return address the person carries a code back: that is completion "code".
        return back_to_app(session, completion_code=arrival.completion_code or "") or to_the_code(session)


def _refused(session: ConnectSession, provider: Provider, error: str, request_id: str) -> Response:
    if error == "access_denied":
        return pages.cancelled_page(app_name=session.client_name, provider_name=provider.display_name)
    return pages.error_page(
        status=400,
        title="Not connected",
        message=f"{provider.display_name} could not connect your account.",
        hint="Go back to where you started, and try again from there.",
        request_id=request_id,
    )

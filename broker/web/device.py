"""``/device``: a person enters the code that their machine shows, sees who asks for what, and approves or declines.

What opens a link and nothing more changes nothing (mail scanners and link previews do that, too): the complete link,
which a machine shows as a QR code, leads to the question and never past it (RFC 8628 §3.3.1). Codes are short, so every
request that brings one is counted before it is looked up (RFC 8628 §5.1); see ``access.limits``.

A person passes ``device`` → the provider → ``device_return``; later, perhaps, ``device_login``.
"""

from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from broker.access.limits import Limits
from broker.clock import Clock
from broker.connections.device_approval import DeviceApprovals, UserCodeUnknown
from broker.connections.short_code import spelled
from broker.errors import InvalidRequest, NotFound, ProviderError, ProviderUnavailable
from broker.http.reading import parse_form, read_body, single_query
from broker.models.device import DeviceAuthorization
from broker.providers import Provider
from broker.web import device_pages
from broker.web.browser import BrowserBinding
from broker.web.device_endings import device_error_page
from broker.web.endings import FORM, page
from broker.web.moments import moment
from broker.web.orderer import Orderers
from broker.web.visitor import Visitors

PATH: Final = "/device"
_SHOWN_AGAIN: Final = 32
"""Characters of a wrong code that its form shows again."""

log = structlog.get_logger(__name__)


class DevicePages:
    """The person's side of a machine's login."""

    def __init__(
        self,
        approvals: DeviceApprovals,
        orderers: Orderers,
        binding: BrowserBinding,
        visitors: Visitors,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._approvals = approvals
        self._orderers = orderers
        self._binding = binding
        self._visitors = visitors
        self._limits = limits
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes of this page."""
        show = page(self._show, self._limits.page, device_error_page)
        answer = page(self._answer, self._limits.button, device_error_page)
        return [
            Route(PATH, show, methods=["GET"], name=f"GET {PATH}"),
            Route(PATH, answer, methods=["POST"], name=f"POST {PATH}"),
        ]

    async def _show(self, request: Request) -> Response:
        """The form, or, with the code in the link, the question."""
        code = single_query(request).get("user_code", "")
        return await self._with(request, code, None)

    async def _answer(self, request: Request) -> Response:
        """The code that was entered, or the decision about it."""
        self._binding.check_own_form(request)
        form = parse_form(await read_body(request, FORM))
        decision = form.get("decision")
        if decision not in {None, "approve", "decline"}:
            raise InvalidRequest("the form says neither approve nor decline")
        return await self._with(request, form.get("user_code", ""), decision)

    async def _with(self, request: Request, code: str, decision: str | None) -> Response:
        visitor = self._visitors.of(request)
        if not code.strip():
            response: Response = device_pages.code_form_page(action=PATH)
        else:
            response = await self._tried(request, visitor, code, decision)
        self._visitors.remember(response, visitor)
        return response

    async def _tried(self, request: Request, visitor: str | None, code: str, decision: str | None) -> Response:
        """One try of a code. It stays counted unless the code was right."""
        address = str(request.state.address)
        await self._limits.user_code(address, visitor)
        try:
            authorization, provider = await self._find(code)
            await self._limits.right_user_code(address, visitor)
            match decision:
                case "approve":
                    return await self._approve(request, authorization, provider)
                case "decline":
                    await self._approvals.decline(authorization)
                    return device_pages.declined_page(
                        app_name=authorization.client_name, provider_name=provider.display_name
                    )
            return self._question(authorization, provider)
        except UserCodeUnknown as error:
            request.state.refusal = error.detail
            return device_pages.code_form_page(action=PATH, wrong_code=code.strip()[:_SHOWN_AGAIN])

    async def _find(self, code: str) -> tuple[DeviceAuthorization, Provider]:
        authorization, provider = await self._approvals.find(code)
        try:
            await self._orderers.check(authorization)
        except NotFound as error:
            raise UserCodeUnknown(error.detail) from None
        return authorization, provider

    async def _approve(self, request: Request, authorization: DeviceAuthorization, provider: Provider) -> Response:
        try:
            departure = await self._approvals.approve(authorization, provider)
        except (ProviderError, ProviderUnavailable) as error:
            log.warning(
                "device.not_departed",
                request_id=str(request.state.request_id),
                provider=provider.name,
                reason=error.detail,
            )
            raise
        # 303, not 307: the provider must not receive the form (RFC 9700 §4.12).
        response = RedirectResponse(departure.url, status_code=303, headers={"Cache-Control": "no-store"})
        self._binding.bind(response, departure.session_id, departure.browser_secret)
        return response

    def _question(self, authorization: DeviceAuthorization, provider: Provider) -> Response:
        return device_pages.question_page(
            action=PATH,
            code=spelled(authorization.user_code),
            app_name=authorization.client_name,
            provider_name=provider.display_name,
            device_name=authorization.device_name,
            address=authorization.address,
            asked=moment(authorization.created_at, self._clock()),
            scopes=[(scope, provider.scopes.get(scope)) for scope in authorization.scopes],
            by_form=provider.connects_by == "form",
        )

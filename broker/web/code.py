"""``GET /connect/{session}/code``: the short code of completion ``code``, for as long as it is waited for.

A page of its own, and not the callback's answer: phones load a page again when its reader comes back from the chat
in which the code is asked for, and then the code has to be there still, but the provider's answer must not be brought
again. The address holds no secret; the browser's cookie says whose code it may see.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from broker.access.limits import Limits
from broker.connections.arrival import Arrivals, NotThisBrowser
from broker.connections.opening import Opening
from broker.models.session import ConnectSession, SessionStatus
from broker.providers import Provider, Registry
from broker.web import pages
from broker.web.browser import BrowserBinding
from broker.web.endings import page

_PATH: Final = "/connect/{session_id}/code"


class CodePages:
    """What a person sees who carries a code back."""

    def __init__(
        self, opening: Opening, arrivals: Arrivals, providers: Registry, binding: BrowserBinding, limits: Limits
    ) -> None:
        self._opening = opening
        self._arrivals = arrivals
        self._providers = providers
        self._binding = binding
        self._limits = limits

    def routes(self) -> list[Route]:
        """The route of this page."""
        return [Route(_PATH, page(self._show, self._limits.page), methods=["GET"], name=f"GET {_PATH}")]

    async def _show(self, request: Request) -> Response:
        session = await self._opening.read(request.path_params["session_id"])
        if session is None:
            raise NotThisBrowser("there is no such session")
        return await self.of(session, request)

    async def of(self, session: ConnectSession, request: Request) -> Response:
        """The page for this session, as the browser of ``request`` may see it.

        :raises NotThisBrowser: it may not.
        """
        secret = self._binding.secret(request, session.id)
        code = await self._arrivals.code_of(session, secret)
        provider = self._providers.get(session.provider)
        if code is None:
            return self._over(session, provider, str(request.state.request_id))
        return pages.code_page(
            app_name=session.client_name,
            provider_name=provider.display_name,
            code=code,
            expires_in_minutes=max(1, round(self._arrivals.time_left(session) / 60_000)),
        )

    def _over(self, session: ConnectSession, provider: Provider, request_id: str) -> Response:
        if session.status is SessionStatus.COMPLETED:
            return pages.done_page(app_name=session.client_name, provider_name=provider.display_name)
        expired = session.status is not SessionStatus.FAILED
        return pages.error_page(
            status=404 if expired else 409,
            title="This code does not work any more",
            message="Its time is over." if expired else "The connection was not made.",
            hint=f"Go back to {session.client_name} and start again from there.",
            request_id=request_id,
        )


def to_the_code(session: ConnectSession) -> Response:
    """Send the browser that brought the provider's answer to its code; the answer leaves the address bar."""
    return RedirectResponse(
        _PATH.format(session_id=session.id),
        status_code=303,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )

"""The end of a machine's login in the browser: the connection is made, or the person said no, or it went wrong."""

import structlog
from starlette.responses import Response

from broker.connections.device_approval import DeviceApprovals
from broker.connections.intake import Taken
from broker.models.session import ConnectSession
from broker.providers import Provider
from broker.web import device_pages, pages
from broker.web.device_login import page_about

log = structlog.get_logger(__name__)


class DeviceReturns:
    """What the callback answers where a machine waits, and not an app."""

    def __init__(self, approvals: DeviceApprovals) -> None:
        self._approvals = approvals

    async def answer(
        self,
        session: ConnectSession,
        provider: Provider,
        error: str | None,
        request_id: str,
        *,
        taken: Taken | None = None,
        again: bool = False,
    ) -> Response:
        """The end of the person's way.

        :param error: the provider's, if it did not say yes.
        :param taken: what the person handed in on our own page.
        :param again: they sent that twice.
        :raises AnswerSpent: whoever takes care of the first time shows the end.
        :raises UserCodeUnknown: the machine waits no longer.
        :raises ProviderError, ProviderUnavailable: the provider did not redeem its yes.
        """
        if error is not None:
            await self._approvals.turned_back(session, error)
            return _refused(session, provider, error, request_id)
        approved = await self._approvals.arrived(session, request_id=request_id, taken=taken, again=again)
        account = approved.connection.account
        return device_pages.approved_page(
            app_name=session.client_name,
            provider_name=provider.display_name,
            device_name=approved.authorization.device_name,
            account_name=account.name if account else None,
            manage_path=page_about(approved.manage_handle),
        )


def _refused(session: ConnectSession, provider: Provider, error: str, request_id: str) -> Response:
    if error == "access_denied":
        return device_pages.declined_page(app_name=session.client_name, provider_name=provider.display_name)
    return pages.error_page(
        status=400,
        title="Your device is not logged in",
        message=f"{provider.display_name} could not connect your account.",
        hint="Open the page that your device names once more, and enter its code again.",
        request_id=request_id,
    )

"""The end of completion ``browser``: the connection is made, and then the browser is back at the app."""

from starlette.responses import Response

from broker.connections.completion import Completions, failure_of
from broker.connections.intake import Taken
from broker.errors import BrokerError
from broker.models.session import ConnectSession
from broker.providers import Provider
from broker.web import pages
from broker.web.endings import back_to_app, error_page


async def completed_here(
    completions: Completions,
    session: ConnectSession,
    provider: Provider,
    request_id: str,
    *,
    taken: Taken | None = None,
) -> Response:
    """Complete the session, and send the browser on.

    :param taken: what the person handed in on our own page.
    """
    try:
        connection = await completions.complete_in_browser(session, request_id=request_id, taken=taken)
    except BrokerError as error:
        return back_to_app(session, error=failure_of(error)) or error_page(error, request_id)
    account = connection.account
    return back_to_app(session, status="connected") or pages.connected_page(
        app_name=session.client_name,
        provider_name=provider.display_name,
        account_name=account.name if account else None,
    )

"""Where a browser ends up: back at the app, or on a page that says what happened, in words a person understands."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.access.limits import TooManyCredentials
from broker.connections.arrival import AnswerSpent, NotThisBrowser
from broker.errors import (
    BrokerError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ProviderError,
    RateLimited,
    SealBroken,
)
from broker.models.session import ConnectSession
from broker.observe import metrics
from broker.web import pages

FORM: Final = "application/x-www-form-urlencoded"
"""What the forms of pages are sent as."""

Page = Callable[[Request], Awaitable[Response]]
Limit = Callable[[str], Awaitable[None]]
ErrorPage = Callable[[BrokerError, str], Response]

_TRY_AGAIN = "Go back to the app and start again from there."
_LOOK_IN_THE_APP = (
    "Look in the app, or on the device, whether your account is connected. If it is not, start again from there."
)


def back_to_app(session: ConnectSession, **result: str) -> Response | None:
    """A redirect to the session's return address with ``result``, or ``None`` if it has none.

    The address is the one that was registered and stored when the session was opened; nothing that came with the
    present request goes into it.
    """
    if session.return_url is None:
        return None
    parameters = {"connect_session": session.id, **result}
    if session.state is not None:
        parameters["state"] = session.state
    # An address that ends in a bare "?" has no query yet, but its question mark.
    joint = "&" if "?" in session.return_url else "?"
    # 303: whatever the browser did last, it GETs the app's address and sends no body along (RFC 9700 §4.12).
    return RedirectResponse(
        f"{session.return_url}{joint}{urlencode(parameters)}",
        status_code=303,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )


def return_host(session: ConnectSession) -> str | None:
    """Where the person ends up, as they are told before: the host of the return address."""
    return urlsplit(session.return_url).netloc if session.return_url else None


def page(handler: Page, limit: Limit, failed: ErrorPage | None = None) -> Page:
    """Turn the error tree into pages, here and nowhere else.

    :param limit: counts the caller's address before anything else happens, and refuses one that comes too often.
    :param failed: makes an error with a request id a page, in other words than :func:`error_page`'s.
    """

    async def endpoint(request: Request) -> Response:
        try:
            await limit(request.state.address)
            return await handler(request)
        except BrokerError as error:
            request.state.refusal = error.detail
            return (failed or error_page)(error, str(request.state.request_id))

    return endpoint


def error_page(error: BrokerError, request_id: str) -> Response:
    """An error as a page: what happened, and what to do now."""
    title, hint = "Something went wrong", _TRY_AGAIN
    status, message = error.status, error.detail
    match error:
        case AnswerSpent():
            # Whether there ever was an attempt is not told apart.
            title = "This page works only once"
            message = "It belongs to an attempt to connect an account that is past this step, or that there never was."
            hint = _LOOK_IN_THE_APP
        case NotThisBrowser():
            title = "This page can't be shown here"
            message = "It belongs to the browser that came back from the provider, and only for a few minutes."
            hint = _LOOK_IN_THE_APP
        case NotFound():
            title = "This link is not valid any more"
            message = "Connect links work for a limited time and only once."
        case Conflict():
            title = "This link was used already"
            message = "A connect link works only once."
        case Forbidden() | InvalidRequest():
            title = "Nothing was connected"
            message = f"For your safety this stopped here: {error.detail}."
        case ProviderError():
            title = "Something is set up wrong"
            message = "This is not your fault, and nothing was lost. Waiting won't help: somebody has to mend it."
            hint = "Tell the people who run the app, and give them the id at the end of this page."
        case TooManyCredentials():
            title = "Too many tries"
            message = "What was entered was refused too often, so nothing more is tried from here for a while."
            hint = f"Wait {waited(error.retry_after or 1)}, and look where you find what is asked for. Then try again."
        case RateLimited():
            title = "Too many requests"
            message = "Too many requests came from your network within a short time."
            # Nothing has happened, so the same page or form works then, the provider's answer included.
            hint = "Wait a minute, then load this page again."
        case _ if error.status == 503:
            title = "The service can't be reached right now"
            message = "This is not your fault, and nothing was lost."
            hint = "Wait a moment, then try again."
    if isinstance(error, SealBroken):
        metrics.seals_broken.inc()
    response = pages.error_page(status=status, title=title, message=message, hint=hint, request_id=request_id)
    return saying_when(response, error)


def saying_when(response: Response, error: BrokerError) -> Response:
    """The answer with the seconds to wait (RFC 9110 §10.2.3), where the error knows them, or waiting helps."""
    if error.retry_after is not None or error.status == 503:
        response.headers["Retry-After"] = str(error.retry_after or 1)
    return response


def waited(seconds: int) -> str:
    """A time to wait, in words."""
    minutes = -(-seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"

"""What went wrong on the pages of a machine's login, in words about a device and not about an app."""

from starlette.responses import Response

from broker.access.limits import TooManyCodes
from broker.connections.arrival import AnswerSpent
from broker.connections.device_approval import UserCodeUnknown
from broker.errors import BrokerError, Conflict, Forbidden, InvalidRequest, NotFound
from broker.web import pages
from broker.web.endings import error_page, saying_when, waited

_START_AGAIN = "Start the login again on your device, and use the code that it shows then."


def device_error_page(error: BrokerError, request_id: str) -> Response:
    """An error as a page; what is the same everywhere comes from :func:`broker.web.endings.error_page`."""
    status, hint = error.status, _START_AGAIN
    match error:
        case TooManyCodes():
            title = "Too many codes were tried"
            message = "To keep anybody from guessing, no code can be entered from here for a while."
            hint = f"Wait {waited(error.retry_after or 1)}, then enter the code that your device shows."
        case UserCodeUnknown():
            status = 400
            title = "Your device is not logged in"
            message = "It does not wait for this login any more, or the login was finished in another window."
        case AnswerSpent():
            return error_page(error, request_id)
        case NotFound():
            title = "There is no such login"
            message = "The device is logged out already, or its login was never finished."
            hint = "Look on the device whether it is logged in."
        case Conflict():
            title = "Something is set up wrong"
            message = "This is not your fault, and nothing was lost. Waiting won't help: somebody has to mend it."
            hint = "Tell the people who run this service, and give them the id at the end of this page."
        case Forbidden() | InvalidRequest():
            title = "Nothing was changed"
            message = f"For your safety this stopped here: {error.detail}."
        case _:
            return error_page(error, request_id)
    response = pages.error_page(status=status, title=title, message=message, hint=hint, request_id=request_id)
    return saying_when(response, error)

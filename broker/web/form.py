"""The form of a connect link, where the provider's accounts are connected by a credential that a person hands in.

The same address and the same steps as for a connection that is approved at the provider; but the browser stays here,
and the provider is asked about what was typed before anything is kept. Whoever sends forms could find out so which of
the credentials they found somewhere work, so refused ones are counted; see ``access.limits``.
"""

from collections.abc import Mapping
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from broker.access.limits import Limits, TooManyCredentials
from broker.connections.authorization import AccountChanged
from broker.connections.completion import Completions
from broker.connections.submission import Submissions, Submitted
from broker.errors import (
    AddressRefused,
    BrokerError,
    InvalidCredentials,
    InvalidRequest,
    ProviderError,
    ProviderUnavailable,
    StoreUnavailable,
)
from broker.models.ids import new_secret
from broker.models.session import Completion, ConnectSession, SessionStatus
from broker.providers import Provider
from broker.vault.typed import Typed
from broker.web.browser import BrowserBinding
from broker.web.code import to_the_code
from broker.web.completed import completed_here
from broker.web.device_return import DeviceReturns
from broker.web.endings import back_to_app, error_page, return_host, saying_when
from broker.web.form_pages import CREDENTIALS, PARAMETERS, Problem, form_page

_ASKABLE: Final = (
    InvalidCredentials,
    InvalidRequest,
    AccountChanged,
    AddressRefused,
    ProviderError,
    ProviderUnavailable,
)
"""After these the person may try again, on the same page."""
_LATER: Final = (TooManyCredentials, StoreUnavailable)
"""After these they may try again, when their time has come."""

log = structlog.get_logger(__name__)


class CredentialForms:
    """Shows the form, and takes in what was typed."""

    def __init__(
        self,
        submissions: Submissions,
        completions: Completions,
        devices: DeviceReturns,
        binding: BrowserBinding,
        limits: Limits,
    ) -> None:
        self._submissions = submissions
        self._completions = completions
        self._devices = devices
        self._binding = binding
        self._limits = limits

    def show(self, request: Request, session: ConnectSession, provider: Provider) -> Response:
        """The empty form. The browser gets its cookie already, so that a double click is one browser's."""
        response = _page(request, session, provider, Typed({}))
        if self._binding.secret(request, session.id) is None and session.status is SessionStatus.PENDING:
            self._binding.bind(response, session.id, new_secret())
        return response

    async def submit(
        self, request: Request, session: ConnectSession, provider: Provider, form: Mapping[str, str]
    ) -> Response:
        """Judge what was typed: the form again, saying what is wrong with it, or onwards.

        :raises NotFound, Conflict, Forbidden: as :meth:`Journey.check_open`.
        """
        typed = _typed(session, provider, form)
        session, secret = await self._submissions.bind(session, self._binding.secret(request, session.id))
        try:
            submitted = await self._judged(request, session, provider, typed, secret)
        except (*_ASKABLE, *_LATER) as error:
            request.state.refusal = error.detail
            if isinstance(error, _LATER):
                response = error_page(error, str(request.state.request_id))
            else:
                response = saying_when(_page(request, session, provider, typed, _problem(error, provider)), error)
            # Whatever went wrong, the session is bound: without its cookie the browser could never try again.
            self._binding.bind(response, session.id, secret)
            return response
        response = await self._onwards(request, submitted, provider)
        if session.completion is Completion.CODE:
            # Whoever carries the code back may look at it again.
            self._binding.bind(response, session.id, secret)
        else:
            self._binding.release(response, session.id)
        return response

    async def _judged(
        self, request: Request, session: ConnectSession, provider: Provider, typed: Typed, secret: str
    ) -> Submitted:
        address, request_id = str(request.state.address), str(request.state.request_id)
        await self._limits.credential(address, session.id)
        try:
            submitted = await self._submissions.submit(session, provider, typed, secret, request_id=request_id)
        except BrokerError as error:
            if isinstance(error, InvalidRequest) or (isinstance(error, InvalidCredentials) and error.step == "format"):
                # Nobody was asked.
                await self._limits.not_refused(address, session.id)
            log.info(
                "connect.not_taken",
                request_id=request_id,
                session_id=session.id,
                provider=provider.name,
                step=error.step if isinstance(error, InvalidCredentials) else error.code,
            )
            raise
        await self._limits.not_refused(address, session.id)
        return submitted

    async def _onwards(self, request: Request, submitted: Submitted, provider: Provider) -> Response:
        session, request_id = submitted.session, str(request.state.request_id)
        match session.completion:
            case Completion.DEVICE:
                taken = submitted.taken
                return await self._devices.answer(session, provider, None, request_id, taken=taken, again=taken is None)
            case Completion.BROWSER:
                return await completed_here(self._completions, session, provider, request_id, taken=submitted.taken)
        # Without a return address the person carries a code back: that is completion "code".
        return back_to_app(session, completion_code=submitted.completion_code or "") or to_the_code(session)


def _page(
    request: Request, session: ConnectSession, provider: Provider, typed: Typed, problem: Problem | None = None
) -> Response:
    return form_page(
        action=request.url.path,
        session=session,
        provider=provider,
        typed=typed,
        return_host=return_host(session),
        problem=problem,
    )


def _typed(session: ConnectSession, provider: Provider, form: Mapping[str, str]) -> Typed:
    """What stands in the form's inputs; what the app has fixed, and what is no input, is left out."""
    return Typed(
        {name: form[key] for name in provider.form_fields if (key := f"{CREDENTIALS}.{name}") in form},
        {
            name: form[key].strip()
            for name in provider.parameters
            if name not in session.parameters and (key := f"{PARAMETERS}.{name}") in form
        },
    )


def _problem(error: BrokerError, provider: Provider) -> Problem:
    """What the person is told, in words about what they typed."""
    name = provider.display_name
    match error:
        case InvalidCredentials(step="format") | InvalidRequest():
            text = "Look at what is marked below." if error.faults else f"{error.detail[:1].upper()}{error.detail[1:]}."
            return Problem(422, "Something is missing or wrong", text, faults=error.faults)
        case InvalidCredentials(step="permissions"):
            scopes = [(scope, provider.scopes.get(scope)) for scope in error.missing]
            text = f"{name} accepts it, but it does not allow enough. What is missing:"
            return Problem(422, "It works, but it may do too little", text, missing=scopes)
        case InvalidCredentials():
            said = f" ({name} answered {error.provider_status}.)" if error.provider_status else ""
            text = f"Check that you entered all of it, and that it was not withdrawn and has not run out.{said}"
            return Problem(422, f"{name} does not accept this", text)
        case AccountChanged():
            text = "This one belongs to another account than the connection that is renewed. Use that account’s."
            return Problem(422, "It works, but for another account", text)
        case AddressRefused():
            text = "What you entered leads to an address that may not be called from here."
            return Problem(422, "That address can’t be used", text)
        case ProviderUnavailable():
            text = f"So {name} could not be asked whether this is right. It is not your fault. Try again in a moment."
            return Problem(503, f"{name} can’t be reached right now", text)
    text = f"{name} gave no answer that says whether this is right. It is not your fault. Try again later."
    return Problem(error.status, f"{name} could not be asked", text)

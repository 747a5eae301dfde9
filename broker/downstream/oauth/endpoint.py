"""What every POST under ``/oauth`` shares: taking it in, authenticating the client, saying no in RFC 6749's words."""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from broker.access.assertions import ASSERTION_TYPE
from broker.access.authentication import Authenticator
from broker.clock import Clock
from broker.downstream.oauth.answers import Refused
from broker.downstream.operation import DeclaredRoute, Face, Operation
from broker.errors import (
    BrokerError,
    InsufficientScope,
    InvalidRequest,
    OAuthError,
    PayloadTooLarge,
    RateLimited,
    SealBroken,
    StoreUnavailable,
    Unauthenticated,
    UnsupportedMediaType,
)
from broker.http.answers import NO_STORE, Made
from broker.http.reading import parse_form, read_body
from broker.models.access import Caller, Client
from broker.observe import metrics

OAUTH: Final = Face(
    name="oauth",
    takes="application/x-www-form-urlencoded",
    gives="application/json",
    refuses_with="application/json",
    refusal=Refused,
    always=(InvalidRequest, Unauthenticated, PayloadTooLarge, UnsupportedMediaType, RateLimited, StoreUnavailable),
    schemes=["client_secret_basic", None],
    words={
        400: "`error` is `invalid_request`, or what RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8628 §3.5 have for the grant; "
        "of a device login that is not approved yet or never will be: `authorization_pending`, `slow_down`, "
        "`access_denied`, `expired_token`.",
        401: "`invalid_client`: the client did not authenticate.",
        413: "`invalid_request`: the body is too large.",
        415: "`invalid_request`: the body is no form.",
        429: "`temporarily_unavailable`: too many failed authentications, or device logins begun by a public client.",
        502: "`server_error`: the provider answered, and the answer was no or made no sense.",
        503: "`temporarily_unavailable`: the store, or the provider, can't be reached.",
    },
)
_PRAGMA: Final = {"Pragma": "no-cache"}
"""RFC 6749 §5.1: on every answer that holds a token, beside ``Cache-Control``, which comes with each answer."""

CLIENT_AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")
"""How a client can authenticate, in the words of RFC 7591 §2. A platform's token travels as the third does."""

NO_AUTHENTICATION: Final = "none"
"""How those words call a public client's way, where it has one."""

_SPEAKABLE: Final = str.maketrans({'"': "'", "\\": "/"})
"""RFC 6749 §5.2 keeps quotes and backslashes out of descriptions; a provider's words may hold them."""


@dataclass(frozen=True, slots=True)
class OAuthCall:
    """A request whose client is known: authenticated, or a public one where those may call."""

    operation: Operation
    request_id: str
    client: Client
    address: str
    """Where the request came from."""
    parameters: Mapping[str, str] = field(repr=False)
    """Those that the operation declares."""
    now: int

    @property
    def caller(self) -> Caller:
        """The client with all its scopes: it authenticated itself, not with a broker token.

        :raises OAuthError: ``unauthorized_client``: a public client, which has proven nothing.
        """
        if self.client.public:
            raise OAuthError("unauthorized_client", "a public client can't do this: it has proven nothing")
        return Caller(self.client.client_id, frozenset(self.client.scopes), self.client.reach)

    def required(self, name: str) -> str:
        """A parameter that must be there.

        :raises OAuthError: ``invalid_request``; it is not.
        """
        try:
            return self.parameters[name]
        except KeyError:
            raise OAuthError("invalid_request", f"the parameter {name} is missing") from None

    def answer(self, view: BaseModel | None) -> Response:
        """``view``, of a declared model, as an answer that nobody caches; ``None`` where none is declared."""
        if not (isinstance(view, self.operation.answer) if view else self.operation.answer == ()):
            raise TypeError("this answer was not declared")
        if view is None:
            return Response(status_code=self.operation.status, headers=NO_STORE | _PRAGMA)
        body = view.model_dump_json(exclude_none=True).encode()
        return Made(body, self.operation.status, self.operation.face.gives, _PRAGMA)


OAuthHandler = Callable[[OAuthCall], Awaitable[Response]]


class OAuthEndpoint:
    """Makes POST routes whose handlers only see authenticated clients, and public ones where they say so."""

    def __init__(self, authenticator: Authenticator, clock: Clock) -> None:
        self._authenticator = authenticator
        self._clock = clock

    def route(
        self,
        operation: Operation,
        handler: OAuthHandler,
        *,
        public: bool = False,
        from_memory: Callable[[Mapping[str, str]], bool] = lambda _: True,
    ) -> DeclaredRoute:
        """The route of ``operation``.

        :param public: public clients may call it, too; they only name themselves.
        :param from_memory: whether it is enough, for a request with these parameters, that its client proved itself a
            moment ago.
        """
        declared = {name for model in operation.bodies for name in model.model_fields}

        async def endpoint(request: Request) -> Response:
            state = request.scope["state"]
            request_id, address = state["request_id"], state["address"]
            headers = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"authorization"]
            try:
                parameters = parse_form(await read_body(request, operation.face.takes))
                remembered = from_memory(parameters)
                client = await self._authenticate(headers, parameters, address, public=public, from_memory=remembered)
                known = {name: value for name, value in parameters.items() if name in declared}
                return await handler(OAuthCall(operation, request_id, client, address, known, self._clock()))
            except BrokerError as error:
                state["refusal"] = error.because or error.detail
                return refusal(error, request_id, challenge=bool(headers))

        return DeclaredRoute(operation, endpoint)

    async def _authenticate(
        self, headers: Sequence[str], parameters: Mapping[str, str], address: str, *, public: bool, from_memory: bool
    ) -> Client:
        """The client, by one of :data:`CLIENT_AUTH_METHODS` and never two at once (RFC 6749 §2.3).

        :param headers: those named Authorization.
        """
        by_assertion = "client_assertion" in parameters or "client_assertion_type" in parameters
        if len(headers) + ("client_secret" in parameters) + by_assertion > 1:
            raise OAuthError("invalid_request", "the client authenticates in more than one way")
        if by_assertion:
            assertion, named = _assertion(parameters), parameters.get("client_id")
            return await self._authenticator.asserted(assertion, named, address, from_memory=from_memory)
        if public and not headers and "client_id" in parameters and "client_secret" not in parameters:
            return await self._authenticator.public(parameters["client_id"], address)
        client_id, secret = _basic(headers[0]) if headers else _post(parameters)
        if parameters.get("client_id", client_id) != client_id:
            raise OAuthError("invalid_request", "client_id is given twice, and differs")
        return await self._authenticator.client(client_id, secret, address, from_memory=from_memory)


def refusal(error: BrokerError, request_id: str, *, challenge: bool = False) -> Response:
    """An error as RFC 6749 §5.2 has it, with the broker's code where that says more.

    :param challenge: the client tried the Authorization header, so the answer names the scheme.
    """
    status, headers = error.status, dict(_PRAGMA)
    match error:
        case OAuthError():
            status, name, code = error.status_code, error.error, error.broker_code
        case Unauthenticated():
            name, code = "invalid_client", None
            if challenge:
                headers["WWW-Authenticate"] = 'Basic realm="broker"'
        case InsufficientScope():
            status, name, code = 400, "unauthorized_client", error.code
        case RateLimited():
            name, code = "temporarily_unavailable", error.code
        case _ if error.status == 503:
            name, code = "temporarily_unavailable", error.code
        case _ if error.status >= 500:
            name, code = "server_error", error.code
        case _:
            # A dead connection (409), a foreign one (404), too large a body (413): to the client its request is wrong.
            status = status if status in {413, 415} else 400
            name, code = "invalid_request", error.code if error.code != "invalid_request" else None
    if isinstance(error, SealBroken):
        metrics.seals_broken.inc()
    if error.retry_after is not None or status == 503:
        headers["Retry-After"] = str(error.retry_after or 1)
    body = Refused(error=name, error_description=error.detail.translate(_SPEAKABLE), request_id=request_id, code=code)
    return Made(body.model_dump_json(exclude_none=True).encode(), status, OAUTH.refuses_with, headers)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("client authentication failed")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:  # not ASCII, not base64, not UTF-8
        raise Unauthenticated("client authentication failed") from None
    if not colon:
        raise Unauthenticated("client authentication failed")
    # RFC 6749 §2.3.1: both are form-encoded before they are joined.
    return unquote_plus(user), unquote_plus(password)


def _post(parameters: Mapping[str, str]) -> tuple[str, str]:
    if "client_id" not in parameters or "client_secret" not in parameters:
        raise Unauthenticated("client authentication failed")
    return parameters["client_id"], parameters["client_secret"]


def _assertion(parameters: Mapping[str, str]) -> str:
    """The assertion, by RFC 7521 §4.2: it and its type come together.

    :raises OAuthError: one of them is missing.
    :raises Unauthenticated: a type that is not accepted (RFC 6749 §5.2).
    """
    for name in ("client_assertion", "client_assertion_type"):
        if name not in parameters:
            raise OAuthError("invalid_request", f"the parameter {name} is missing")
    if parameters["client_assertion_type"] != ASSERTION_TYPE:
        raise Unauthenticated("client authentication failed")
    # Files that tokens are read from end in a newline more often than not.
    return parameters["client_assertion"].rstrip()

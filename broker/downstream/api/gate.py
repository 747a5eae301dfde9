"""The phases every ``/v1`` request passes, in one order: size and content type, authentication, scope, existence, body.

Errors become RFC 9457 problem documents here and nowhere else.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from broker.access.authentication import Authenticator
from broker.access.policy import permit
from broker.clock import Clock
from broker.downstream.operation import DeclaredRoute, Face, Operation
from broker.errors import (
    BrokerError,
    FieldFault,
    Forbidden,
    InsufficientScope,
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    MissingProviderScopes,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    SealBroken,
    StoreUnavailable,
    Unauthenticated,
    UnsupportedMediaType,
)
from broker.http.answers import Made
from broker.http.problems import Problem, problem_document
from broker.http.reading import bearer_token, read_body, single_query
from broker.models.access import Caller
from broker.models.connection import Connection, Status, unusable
from broker.models.event import Event
from broker.models.ids import is_id, new_id
from broker.observe import metrics
from broker.vault.records import Records

Body = TypeVar("Body", bound=BaseModel)

JSON: Final = Face(
    name="json",
    takes="application/json",
    gives="application/json",
    refuses_with="application/problem+json",
    refusal=Problem,
    always=(InvalidRequest, Unauthenticated, PayloadTooLarge, UnsupportedMediaType, RateLimited, StoreUnavailable),
    schemes=["broker_token"],
)

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""Names a request that may come again (draft-ietf-httpapi-idempotency-key-header)."""


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        fault = FieldFault("body", "a member is given more than once")
        raise InvalidRequest("the body can be read in two ways", [fault])
    return members


_UNIQUE_MEMBERS: Final = json.JSONDecoder(object_pairs_hook=_unique_members)


@dataclass(slots=True)  # not frozen: each request makes one, and freezing would be most of that
class Call:
    """A request that has passed authentication and scope."""

    operation: Operation
    request: Request
    caller: Caller
    now: int
    raw_body: bytes = field(repr=False)
    drawn: str | None = None
    """The random part of the id of what is made, where a repeat has to make the same thing."""

    @property
    def request_id(self) -> str:
        """The id that logs, events and error answers of this request carry."""
        return str(self.request.scope["state"]["request_id"])

    def path(self, name: str) -> str:
        """A path parameter."""
        return str(self.request.path_params[name])

    def body(self, model: type[Body]) -> Body:
        """The body as ``model``, which is the declared one; an empty body is an empty object.

        :raises InvalidRequest: naming every field that is wrong, and no value; or a member stands twice, which two
            readers would read differently (RFC 8259 §4).
        """
        if model is not self.operation.body:
            raise TypeError("the body is not read as it was declared")
        # What is no JSON is told below, with where it stops being any.
        text = self.raw_body or b"{}"
        if text.count(b":") > 1:  # two members have two colons
            with suppress(ValueError, RecursionError):
                _UNIQUE_MEMBERS.decode(text.decode())
        try:
            return _of_nothing(model) if text == b"{}" else model.model_validate_json(text)
        except ValidationError as error:
            raise InvalidRequest("the body is not what this route takes", faults_of(error)) from None

    def query(self, model: type[Body]) -> Body:
        """The query parameters as ``model``, which is the declared one.

        :raises InvalidRequest: naming every parameter that is wrong or given twice.
        """
        if model is not self.operation.query:
            raise TypeError("the query is not read as it was declared")
        try:
            return model.model_validate(dict(single_query(self.request)))
        except ValidationError as error:
            raise InvalidRequest("the query is not what this route takes", faults_of(error)) from None

    def answer(self, view: BaseModel, *, headers: Mapping[str, str] | None = None) -> Response:
        """``view``, of the declared model, as a JSON answer that nobody caches."""
        if not isinstance(view, self.operation.answer):
            raise TypeError("this answer was not declared")
        return self.made(to_json(view), headers=headers)

    def made(self, body: bytes, *, headers: Mapping[str, str] | None = None) -> Response:
        """An answer whose body was made before."""
        return Made(body, self.operation.status, self.operation.face.gives, headers)

    def id_for(self, prefix: str) -> str:
        """The id of the one thing that this request makes."""
        return new_id(prefix) if self.drawn is None else f"{prefix}_{self.drawn}"

    def event(self, event_type: str, connection_id: str | None = None) -> Event:
        """An audit event of this request."""
        return Event(
            type=event_type,
            tenant=self.caller.tenant,
            at=self.now,
            connection_id=connection_id,
            client_id=self.caller.client_id,
            request_id=self.request_id,
        )


@cache
def _of_nothing(model: type[Body]) -> Body:
    """What a body is that says nothing, as most do: the same each time."""
    return model.model_validate_json(b"{}")


Handler = Callable[[Call], Awaitable[Response]]

Once = Callable[[Call, Handler], Awaitable[Response]]
"""Carries a request out, or answers what was answered when it came before."""


class Gate:
    """Makes routes whose handlers only see requests that may be there."""

    def __init__(self, authenticator: Authenticator, records: Records, once: Once, clock: Clock) -> None:
        """:param once: carries out what makes something new."""
        self._authenticator = authenticator
        self._records = records
        self._once = once
        self._clock = clock

    def route(self, operation: Operation, handler: Handler) -> DeclaredRoute:
        """The route of ``operation``."""
        answer = self._repeatable(handler) if operation.creates else handler
        media_types, takes_bound = operation.media_types, operation.takes_bound

        async def endpoint(request: Request) -> Response:
            state = request.scope["state"]
            try:
                raw_body = b"" if operation.relays else await read_body(request, *media_types)
                caller = await self._authenticator.bearer(bearer_token(request), state["address"])
                permit(caller, operation.scope)
                if caller.reach.connection_id is not None and not takes_bound:
                    raise Forbidden("this token is bound to one connection")
                return await answer(Call(operation, request, caller, self._clock(), raw_body))
            except BrokerError as error:
                state["refusal"] = error.because or error.detail
                return problem(error, state["request_id"])

        return DeclaredRoute(operation, endpoint)

    def _repeatable(self, handler: Handler) -> Handler:
        async def once(call: Call) -> Response:
            if IDEMPOTENCY_KEY not in call.request.headers:
                return await handler(call)
            if "connection_id" in call.request.path_params:
                # What was answered about a connection is not for who does not see it any more.
                connection = await self.connection(call, call.operation.scope)
                if connection.status is Status.REVOKED:
                    raise unusable(connection.status)
            return await self._once(call, handler)

        return once

    def standing(self, call: Call, connection_id: str) -> Callable[[], Awaitable[bool]]:
        """Asks whether the caller may still use the connection: who streams for long asks now and then.

        A store that can't be asked takes nothing away.
        """
        token = bearer_token(call.request)

        async def stands() -> bool:
            try:
                if not await self._authenticator.still(call.caller, token):
                    return False
                connection = await self._records.read(connection_id)
            except StoreUnavailable:
                return True
            return connection is not None and connection.status is Status.ACTIVE

        return stands

    async def connection(self, call: Call, scope: str | None) -> Connection:
        """The connection that the path names.

        :raises NotFound: there is none for this tenant and client; unknown and foreign answer the same.
        """
        connection_id = call.path("connection_id")
        connection = await self._records.read(connection_id) if is_id("con", connection_id) else None
        if connection is None:
            raise NotFound("no such connection")
        permit(call.caller, scope, connection)
        return connection


def problem(error: BrokerError, request_id: str) -> Response:
    """An error as a problem document (RFC 9457) with the broker's code and the request's id."""
    faults: Sequence[FieldFault] = ()
    more: dict[str, object] = {}
    headers: dict[str, str] = {}
    match error:
        case InvalidRequest():
            faults = error.faults
        case MissingProviderScopes():
            more["missing"] = list(error.missing)
        case InvalidCredentials():
            faults = error.faults
            said = {"step": error.step, "provider_status": error.provider_status, "missing": list(error.missing)}
            more |= {name: value for name, value in said.items() if value}
        case InvalidToken():
            headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        case Unauthenticated():
            # No error code: nothing was presented that could be wrong (RFC 6750 §3.1).
            headers["WWW-Authenticate"] = 'Bearer realm="broker"'
        case InsufficientScope():
            headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{error.scope}"'
        case SealBroken():
            metrics.seals_broken.inc()
    if error.retry_after is not None or error.status == 503:
        headers["Retry-After"] = str(error.retry_after or 1)
    return problem_document(
        error.status, error.code, error.detail, request_id, faults=faults, more=more, headers=headers
    )


def faults_of(error: ValidationError) -> Sequence[FieldFault]:
    """pydantic's findings as field and message; the values stay out."""
    return [
        FieldFault(
            ".".join(str(part) for part in fault["loc"]) or "body",
            "unknown field" if fault["type"] == "extra_forbidden" else fault["msg"],
        )
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]

"""``/v1/connect-sessions``: opening an attempt, watching it, completing it."""

from starlette.responses import Response

from broker.access.clients import Clients
from broker.access.policy import permit
from broker.access.references import References
from broker.access.return_urls import matches_return_url
from broker.clock import rfc3339
from broker.connections.completion import Completions
from broker.connections.opening import Opening, Order
from broker.connections.proof import CompletionRequest
from broker.downstream.api.bodies import CompleteConnectSession, OpenConnectSession
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import (
    CompletedConnectSession,
    ConnectionView,
    ConnectSessionView,
    OpenedConnectSession,
)
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import (
    Conflict,
    FieldFault,
    Forbidden,
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    SubjectMismatch,
)
from broker.models.access import Client
from broker.models.connection import Connection, Status
from broker.models.ids import is_id
from broker.models.session import Completion, ConnectSession
from broker.providers import Provider, Registry
from broker.vault.records import Records

_REFERENCE_SECONDS = 300

_TAG = "Connect sessions"
_ONE = "/v1/connect-sessions/{session_id}"

_OPEN = Operation(
    face=JSON,
    name="open_connect_session",
    method="POST",
    path="/v1/connect-sessions",
    tag=_TAG,
    summary="Open a connect session and get the link to send the person to.",
    scope="connect",
    body=OpenConnectSession,
    answer=OpenedConnectSession,
    status=201,
    creates=True,
    refuses=(Forbidden, NotFound, Conflict),
)
_SHOW = Operation(
    face=JSON,
    name="show_connect_session",
    method="GET",
    path=_ONE,
    tag=_TAG,
    summary="Where an attempt to connect stands.",
    scope="connect",
    answer=ConnectSessionView,
    refuses=(NotFound,),
)
_COMPLETE = Operation(
    face=JSON,
    name="complete_connect_session",
    method="POST",
    path=f"{_ONE}/complete",
    tag=_TAG,
    summary="Complete a session: confirm whose connection it is, and make it.",
    scope="connect",
    body=CompleteConnectSession,
    answer=CompletedConnectSession,
    refuses=(NotFound, SubjectMismatch, Conflict, InvalidCredentials, ProviderError, ProviderUnavailable),
)


class ConnectSessionRoutes:
    """Connect sessions."""

    def __init__(
        self,
        gate: Gate,
        opening: Opening,
        completions: Completions,
        clients: Clients,
        references: References,
        records: Records,
        providers: Registry,
        public_url: str,
    ) -> None:
        self._gate = gate
        self._opening = opening
        self._completions = completions
        self._clients = clients
        self._references = references
        self._records = records
        self._providers = providers
        self._public_url = public_url

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [
            self._gate.route(_OPEN, self._open),
            self._gate.route(_SHOW, self._show),
            self._gate.route(_COMPLETE, self._complete),
        ]

    async def _open(self, call: Call) -> Response:
        body = call.body(OpenConnectSession)
        provider = self._provider(call, body.provider)
        client = await self._clients.read(call.caller.client_id)
        if client is None:
            raise InvalidToken("the client is gone")
        completion = _completion(body, client)
        session, handle = await self._opening.open(
            Order(
                tenant=client.tenant,
                client_id=client.client_id,
                client_name=client.name,
                provider=provider,
                subject=body.subject,
                completion=completion,
                subject_name=body.subject_name,
                scopes=body.scopes,
                parameters=body.parameters,
                return_url=_return_url(body, client, completion),
                state=body.state,
                label=body.label,
                metadata=body.metadata,
                renews=await self._renewed(call, body),
                allow_account_change=body.allow_account_change,
                session_id=call.id_for("cs"),
            )
        )
        view = OpenedConnectSession(
            id=session.id,
            connect_url=f"{self._public_url}/connect/{handle}",
            status=session.status,
            expires_at=rfc3339(session.expires_at),
        )
        return call.answer(view)

    async def _show(self, call: Call) -> Response:
        return call.answer(ConnectSessionView.of(await self._session(call), call.now))

    async def _complete(self, call: Call) -> Response:
        session = await self._session(call)
        body = call.body(CompleteConnectSession)
        proof = CompletionRequest(body.completion_code, body.subject)
        connection = await self._completions.complete(session, proof, request_id=call.request_id)
        view = CompletedConnectSession(connection=ConnectionView.of(connection))
        caller = call.caller
        redeems = "references:redeem" in caller.scopes and caller.reach.allow is None
        if redeems and self._providers.get(connection.provider).hands_out_tokens:
            view.reference = await self._references.issue(
                call.caller,
                connection,
                audience=call.caller.client_id,
                expires_in=_REFERENCE_SECONDS,
                max_uses=1,
                request_id=call.request_id,
            )
            view.expires_in = _REFERENCE_SECONDS
        return call.answer(view)

    async def _session(self, call: Call) -> ConnectSession:
        session = await self._opening.read(call.path("session_id"))
        if session is None:
            raise NotFound("no such connect session")
        permit(call.caller, "connect", session)
        return session

    def _provider(self, call: Call, name: str) -> Provider:
        if name not in self._providers:
            raise InvalidRequest("there is no such provider", [FieldFault("provider", "not in the providers file")])
        permit(call.caller, "connect", name)
        return self._providers.get(name)

    async def _renewed(self, call: Call, body: OpenConnectSession) -> Connection | None:
        if body.connection_id is None:
            return None
        connection = await self._records.read(body.connection_id) if is_id("con", body.connection_id) else None
        if connection is None:
            raise NotFound("no such connection")
        permit(call.caller, "connect", connection)
        if connection.status is Status.REVOKED:
            raise Conflict("the connection was disconnected; open a session without connection_id")
        for field, matches in (
            ("subject", connection.subject == body.subject),
            ("provider", connection.provider == body.provider),
        ):
            if not matches:
                fault = FieldFault(field, "not the one of the connection to renew")
                raise InvalidRequest("the connection to renew belongs to another subject or provider", [fault])
        return connection


def _completion(body: OpenConnectSession, client: Client) -> Completion:
    if body.completion is None:
        nowhere_to_return = body.return_url is None and not client.return_urls
        return Completion.CODE if nowhere_to_return else Completion.APP
    if body.completion == "browser" and "browser" not in client.completions:
        raise Forbidden("the client is not registered for completion in the browser")
    return Completion(body.completion)


def _return_url(body: OpenConnectSession, client: Client, completion: Completion) -> str | None:
    if completion is Completion.CODE:
        if body.return_url is not None:
            fault = FieldFault("return_url", "completion 'code' shows a code instead of returning")
            raise InvalidRequest("there is nowhere to return to", [fault])
        return None
    if body.return_url is None:
        if len(client.return_urls) == 1:
            return client.return_urls[0]
        raise InvalidRequest("a return_url is needed", [FieldFault("return_url", "one of the registered ones")])
    if not any(matches_return_url(registered, body.return_url) for registered in client.return_urls):
        fault = FieldFault("return_url", "not registered for this client, character by character")
        raise InvalidRequest("the return_url is not registered", [fault])
    return body.return_url

"""``/v1/connections``: making one without a browser, listing, reading, refreshing, testing, disconnecting."""

from starlette.responses import Response

from broker.access.policy import permit
from broker.connections.authorization import Wanted
from broker.connections.changes import Change, Changes
from broker.connections.intake import Intake
from broker.connections.lifecycle import Lifecycle
from broker.downstream.api.bodies import CreateConnection, ListConnections, PatchConnection
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import ConnectionList, ConnectionView, DisconnectedView, TestedView
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import (
    Conflict,
    FieldFault,
    Forbidden,
    InvalidCredentials,
    InvalidRequest,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    ReauthRequired,
)
from broker.models.connection import Connection
from broker.providers import Registry
from broker.vault.directory import Directory

_READ, _WRITE = "connections:read", "connections:write"
_TAG = "Connections"
_ALL = "/v1/connections"
_ONE = "/v1/connections/{connection_id}"

_CREATE = Operation(
    face=JSON,
    name="create_connection",
    method="POST",
    path=_ALL,
    tag=_TAG,
    summary="Make a connection without a browser.",
    scope=_WRITE,
    body=CreateConnection,
    answer=ConnectionView,
    status=201,
    creates=True,
    refuses=(Forbidden, Conflict, InvalidCredentials, ProviderError, ProviderUnavailable),
)
_LIST = Operation(
    face=JSON,
    name="list_connections",
    method="GET",
    path=_ALL,
    tag=_TAG,
    summary="List connections, newest first.",
    scope=_READ,
    query=ListConnections,
    answer=ConnectionList,
)
_SHOW = Operation(
    face=JSON,
    name="show_connection",
    method="GET",
    path=_ONE,
    tag=_TAG,
    summary="A connection: its account, its health, never its credential.",
    scope=_READ,
    answer=ConnectionView,
    refuses=(NotFound,),
)
_PATCH = Operation(
    face=JSON,
    name="change_connection",
    method="PATCH",
    path=_ONE,
    tag=_TAG,
    summary="Change label, metadata or fallback, switch it off and on, give it a new credential: all of it or nothing.",
    scope=_WRITE,
    body=PatchConnection,
    also_takes=("application/merge-patch+json",),
    answer=ConnectionView,
    refuses=(NotFound, Conflict, ReauthRequired, InvalidCredentials, ProviderError, ProviderUnavailable),
)
_DISCONNECT = Operation(
    face=JSON,
    name="disconnect",
    method="DELETE",
    path=_ONE,
    tag=_TAG,
    summary="End a connection: its credential is given back to the provider where it takes it, and erased.",
    scope=_WRITE,
    answer=DisconnectedView,
    refuses=(NotFound, Conflict),
)
_REFRESH = Operation(
    face=JSON,
    name="refresh_connection",
    method="POST",
    path=f"{_ONE}/refresh",
    tag=_TAG,
    summary="Refresh the credential now.",
    scope=_WRITE,
    answer=ConnectionView,
    refuses=(NotFound, Conflict, ReauthRequired, ProviderError, ProviderUnavailable),
)
_TEST = Operation(
    face=JSON,
    name="test_connection",
    method="POST",
    path=f"{_ONE}/test",
    tag=_TAG,
    summary="Ask the provider whose account it is, with the credential as it is.",
    scope=_WRITE,
    answer=TestedView,
    refuses=(NotFound, Conflict, ReauthRequired, ProviderError, ProviderUnavailable),
)


class ConnectionRoutes:
    """Connections."""

    def __init__(
        self,
        gate: Gate,
        intake: Intake,
        changes: Changes,
        lifecycle: Lifecycle,
        directory: Directory,
        providers: Registry,
    ) -> None:
        self._gate = gate
        self._intake = intake
        self._changes = changes
        self._lifecycle = lifecycle
        self._directory = directory
        self._providers = providers

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [
            self._gate.route(_CREATE, self._create),
            self._gate.route(_LIST, self._list),
            self._gate.route(_SHOW, self._show),
            self._gate.route(_PATCH, self._change),
            self._gate.route(_DISCONNECT, self._disconnect),
            self._gate.route(_REFRESH, self._refresh),
            self._gate.route(_TEST, self._test),
        ]

    async def _create(self, call: Call) -> Response:
        body = call.body(CreateConnection)
        if body.provider not in self._providers:
            raise InvalidRequest("there is no such provider", [FieldFault("provider", "not in the providers file")])
        permit(call.caller, _WRITE, body.provider)
        provider = self._providers.get(body.provider)
        connection = await self._intake.take(
            Wanted(
                tenant=call.caller.tenant,
                client_id=call.caller.client_id,
                subject=body.subject,
                provider=provider,
                credential_type=provider.type,
                requested_scopes=body.scopes or provider.default_scopes,
                # Tokens from elsewhere were granted before anybody knew what this broker asks for by default.
                needed_scopes=body.scopes if provider.type == "oauth2" else None,
                parameters=body.parameters,
                label=body.label,
                metadata=body.metadata,
                validate=body.validate_,
                request_id=call.request_id,
                connection_id=None if call.drawn is None else call.id_for("con"),
            ),
            body.credentials,
        )
        return call.answer(ConnectionView.of(connection))

    async def _list(self, call: Call) -> Response:
        query = call.query(ListConnections)

        def wanted(connection: Connection) -> bool:
            return (
                call.caller.reach.covers(connection.tenant, connection.provider)
                and query.provider in {None, connection.provider}
                and query.status in {None, connection.status}
            )

        found, next_cursor = await self._directory.page(
            call.caller.tenant, subject=query.subject, wanted=wanted, cursor=query.cursor, limit=query.limit
        )
        return call.answer(ConnectionList(items=[ConnectionView.of(c) for c in found], next_cursor=next_cursor))

    async def _show(self, call: Call) -> Response:
        return call.answer(ConnectionView.of(await self._gate.connection(call, _READ)))

    async def _change(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        body = call.body(PatchConnection)
        given = frozenset(body.model_fields_set)
        change = Change(
            given=given,
            label=body.label,
            metadata=body.metadata,
            status=body.status,
            fallback=body.fallback,
            credentials=body.credentials or {},
            scopes=tuple(body.scopes),
            validate=body.validate_,
            allow_account_change=body.allow_account_change,
        )
        caller = call.caller
        changed = await self._changes.apply(
            connection, change, reach=caller.reach, client_id=caller.client_id, request_id=call.request_id
        )
        return call.answer(ConnectionView.of(changed))

    async def _disconnect(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        ending = await self._lifecycle.disconnect(
            connection, client_id=call.caller.client_id, request_id=call.request_id
        )
        return call.answer(DisconnectedView.of(connection.id, ending))

    async def _refresh(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        return call.answer(ConnectionView.of(await self._lifecycle.refresh(connection, request_id=call.request_id)))

    async def _test(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        account = await self._lifecycle.test(connection, request_id=call.request_id)
        return call.answer(TestedView.of(connection, account))

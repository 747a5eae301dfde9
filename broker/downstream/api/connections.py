"""``/v1/connections``: making one without a browser, listing, reading, refreshing, testing, disconnecting."""

from starlette.responses import Response
from starlette.routing import Route

from broker.access.policy import permit
from broker.connections.authorization import Wanted
from broker.connections.lifecycle import Lifecycle
from broker.downstream.api.bodies import CreateConnection, ListConnections
from broker.downstream.api.gate import Call, Gate, answer
from broker.downstream.api.views import ConnectionList, ConnectionView, DisconnectedView, TestedView
from broker.errors import FieldFault, InvalidRequest
from broker.models.connection import Connection
from broker.providers import Registry
from broker.vault.directory import Directory

_READ, _WRITE = "connections:read", "connections:write"


class ConnectionRoutes:
    """Connections."""

    def __init__(self, gate: Gate, lifecycle: Lifecycle, directory: Directory, providers: Registry) -> None:
        self._gate = gate
        self._lifecycle = lifecycle
        self._directory = directory
        self._providers = providers

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        one = "/v1/connections/{connection_id}"
        return [
            self._gate.route("POST", "/v1/connections", _WRITE, self._create),
            self._gate.route("GET", "/v1/connections", _READ, self._list),
            self._gate.route("GET", one, _READ, self._show),
            self._gate.route("DELETE", one, _WRITE, self._disconnect),
            self._gate.route("POST", f"{one}/refresh", _WRITE, self._refresh),
            self._gate.route("POST", f"{one}/test", _WRITE, self._test),
        ]

    async def _create(self, call: Call) -> Response:
        body = call.body(CreateConnection)
        if body.provider not in self._providers:
            raise InvalidRequest("there is no such provider", [FieldFault("provider", "not in the providers file")])
        permit(call.caller, _WRITE, body.provider)
        if body.credentials:
            fault = FieldFault("credentials", "this provider's client credentials grant takes {}")
            raise InvalidRequest("the credentials are not what the provider takes", [fault])
        provider = self._providers.get(body.provider)
        connection = await self._lifecycle.connect_app(
            Wanted(
                tenant=call.caller.tenant,
                client_id=call.caller.client_id,
                subject=body.subject,
                provider=provider,
                credential_type="client_credentials",
                requested_scopes=body.scopes or provider.default_scopes,
                parameters=body.parameters,
                label=body.label,
                metadata=body.metadata,
                validate=body.validate_,
                request_id=call.request_id,
            )
        )
        return answer(ConnectionView.of(connection), status=201)

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
        return answer(ConnectionList(items=[ConnectionView.of(c) for c in found], next_cursor=next_cursor))

    async def _show(self, call: Call) -> Response:
        return answer(ConnectionView.of(await self._gate.connection(call, _READ)))

    async def _disconnect(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        ending = await self._lifecycle.disconnect(
            connection, client_id=call.caller.client_id, request_id=call.request_id
        )
        return answer(DisconnectedView.of(connection.id, ending))

    async def _refresh(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        return answer(ConnectionView.of(await self._lifecycle.refresh(connection, request_id=call.request_id)))

    async def _test(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        account = await self._lifecycle.test(connection, request_id=call.request_id)
        view = TestedView.of(connection, account)
        return answer(view)

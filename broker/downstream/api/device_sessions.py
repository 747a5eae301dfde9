"""``/v1/connections/{id}/device-sessions``: which machines are logged in with a connection, and logging them out."""

from starlette.responses import Response

from broker.connections.device_life import DeviceLife
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import DeviceSessionList, DeviceSessionView, EndedDeviceSession
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import NotFound

_READ, _WRITE = "connections:read", "connections:write"
_ALL = "/v1/connections/{connection_id}/device-sessions"
_LIST = Operation(
    face=JSON,
    name="list_device_sessions",
    method="GET",
    path=_ALL,
    tag="Devices",
    summary="List the machines that are logged in with a connection.",
    scope=_READ,
    answer=DeviceSessionList,
    refuses=(NotFound,),
)
_END = Operation(
    face=JSON,
    name="end_device_session",
    method="DELETE",
    path=f"{_ALL}/{{device_session_id}}",
    tag="Devices",
    summary="Log a machine out: its broker tokens stop working within seconds.",
    description="With the last machine ends a connection that a login made for itself, without a `subject`.",
    scope=_WRITE,
    answer=EndedDeviceSession,
    refuses=(NotFound,),
)


class DeviceSessionRoutes:
    """Device sessions."""

    def __init__(self, gate: Gate, life: DeviceLife) -> None:
        self._gate = gate
        self._life = life

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [self._gate.route(_LIST, self._list), self._gate.route(_END, self._end)]

    async def _list(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _READ)
        found = await self._life.sessions(connection.id)
        return call.answer(DeviceSessionList(items=[DeviceSessionView.of(session) for session in found]))

    async def _end(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _WRITE)
        session = await self._life.session(connection.id, call.path("device_session_id"))
        if not await self._life.end(session, client_id=call.caller.client_id, request_id=call.request_id):
            raise NotFound("no such device session")
        return call.answer(EndedDeviceSession(id=session.id, status="ended"))

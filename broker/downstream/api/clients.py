"""``/v1/clients``: registering and removing clients of the caller's tenant."""

from starlette.responses import Response

from broker.access.clients import Actor, Clients
from broker.downstream.api.bodies import CreateClient
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import ClientList, ClientView, CreatedClient, DeletedClient
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import FieldFault, InvalidRequest, NotFound
from broker.models.access import Workload
from broker.providers import Registry

_SCOPE = "admin"
_LIST = Operation(
    face=JSON,
    name="list_clients",
    method="GET",
    path="/v1/clients",
    tag="Clients",
    summary="List the clients of the caller's tenant.",
    scope=_SCOPE,
    answer=ClientList,
)
_CREATE = Operation(
    face=JSON,
    name="create_client",
    method="POST",
    path="/v1/clients",
    tag="Clients",
    summary="Register a client in the caller's tenant.",
    scope=_SCOPE,
    body=CreateClient,
    answer=CreatedClient,
    status=201,
    creates=True,
)
_DELETE = Operation(
    face=JSON,
    name="delete_client",
    method="DELETE",
    path="/v1/clients/{client_id}",
    tag="Clients",
    summary="Remove a client; its broker tokens and secrets stop working.",
    scope=_SCOPE,
    answer=DeletedClient,
    refuses=(NotFound,),
)


class ClientRoutes:
    """Clients. An administrator hands out at most the providers and requests that it was given itself."""

    def __init__(self, gate: Gate, clients: Clients, providers: Registry) -> None:
        self._gate = gate
        self._clients = clients
        self._providers = providers

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [
            self._gate.route(_LIST, self._list),
            self._gate.route(_CREATE, self._create),
            self._gate.route(_DELETE, self._delete),
        ]

    async def _list(self, call: Call) -> Response:
        clients = await self._clients.list(call.caller.tenant)
        return call.answer(ClientList(items=[ClientView.of(client) for client in clients]))

    async def _create(self, call: Call) -> Response:
        body = call.body(CreateClient)
        own = call.caller.reach.providers
        if own is not None and (body.providers is None or set(body.providers) - own):
            fault = FieldFault("providers", "may hold only providers that the caller was given itself")
            raise InvalidRequest("the client would see more than its maker", [fault])
        held_to = call.caller.reach.allow
        if held_to is not None and (body.allow is None or set(body.allow) - set(held_to)):
            fault = FieldFault("allow", "may hold only entries of the caller's own list")
            raise InvalidRequest("the client could do more than its maker", [fault])
        client, secret = await self._clients.create(
            body.name,
            scopes=body.scope.split(),
            tenant=call.caller.tenant,
            return_urls=body.return_urls,
            providers=body.providers,
            known_providers=self._providers.names,
            completions=(body.completion,) if body.completion else (),
            jwks=body.jwks,
            jwks_uri=body.jwks_uri,
            workloads=[Workload(**workload.model_dump()) for workload in body.workloads],
            device=body.device,
            public=body.public,
            allow=body.allow,
            client_id=call.id_for("cl"),
            by=_actor(call),
        )
        return call.answer(CreatedClient.made(client, secret))

    async def _delete(self, call: Call) -> Response:
        client = await self._clients.read(call.path("client_id"))
        if client is None or client.tenant != call.caller.tenant:
            raise NotFound("no such client")
        await self._clients.delete(client.client_id, by=_actor(call))
        return call.answer(DeletedClient(client_id=client.client_id, status="deleted"))


def _actor(call: Call) -> Actor:
    return Actor(call.caller.client_id, call.request_id)

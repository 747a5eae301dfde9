"""``/v1/providers``: what can be connected, and what is missing where something can't."""

from starlette.responses import Response

from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import ProviderList, ProviderView
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import NotFound
from broker.providers import Provider, Registry

_LIST = Operation(
    face=JSON,
    name="list_providers",
    method="GET",
    path="/v1/providers",
    tag="Providers",
    summary="List the providers that the client was given.",
    answer=ProviderList,
)
_SHOW = Operation(
    face=JSON,
    name="show_provider",
    method="GET",
    path="/v1/providers/{name}",
    tag="Providers",
    summary="What a provider offers, and what is missing before it can be connected.",
    bound=True,
    answer=ProviderView,
    refuses=(NotFound,),
)


class ProviderRoutes:
    """Providers; a client sees those it was given."""

    def __init__(self, gate: Gate, providers: Registry, public_url: str) -> None:
        self._gate = gate
        self._providers = providers
        self._public_url = public_url

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [
            self._gate.route(_LIST, self._list),
            self._gate.route(_SHOW, self._show),
        ]

    async def _list(self, call: Call) -> Response:
        reach = call.caller.reach
        return call.answer(
            ProviderList(items=[self._view(p) for p in self._providers if reach.covers_provider(p.name)])
        )

    async def _show(self, call: Call) -> Response:
        name = call.path("name")
        if not call.caller.reach.covers_provider(name):
            raise NotFound("there is no such provider")
        return call.answer(self._view(self._providers.get(name)))

    def _view(self, provider: Provider) -> ProviderView:
        return ProviderView.of(provider, self._public_url)

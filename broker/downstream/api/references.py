"""``/v1/connections/{id}/references``: capabilities for another service (or oneself)."""

from starlette.responses import Response
from starlette.routing import Route

from broker.access.references import References
from broker.downstream.api.bodies import IssueReference
from broker.downstream.api.gate import Call, Gate, answer
from broker.downstream.api.views import ReferenceView

_SCOPE = "references:issue"


class ReferenceRoutes:
    """References."""

    def __init__(self, gate: Gate, references: References) -> None:
        self._gate = gate
        self._references = references

    def routes(self) -> list[Route]:
        """The routes of this resource."""
        return [self._gate.route("POST", "/v1/connections/{connection_id}/references", _SCOPE, self._issue)]

    async def _issue(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _SCOPE)
        body = call.body(IssueReference)
        reference = await self._references.issue(
            call.caller,
            connection,
            audience=body.audience,
            expires_in=body.expires_in,
            max_uses=body.max_uses,
            request_id=call.request_id,
        )
        return answer(ReferenceView(reference=reference, expires_in=body.expires_in), status=201)

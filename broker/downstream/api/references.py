"""``/v1/connections/{id}/references``: capabilities for another service (or oneself)."""

from starlette.responses import Response

from broker.access.references import References
from broker.connections.tokens import Tokens
from broker.downstream.api.bodies import IssueReference
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.views import ReferenceView
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import Conflict, Forbidden, MissingProviderScopes, NotFound, ProviderUnavailable, ReauthRequired

_SCOPE = "references:issue"
_ISSUE = Operation(
    face=JSON,
    name="issue_reference",
    method="POST",
    path="/v1/connections/{connection_id}/references",
    tag="References",
    summary="Issue a reference, which another service exchanges for an access token.",
    scope=_SCOPE,
    body=IssueReference,
    answer=ReferenceView,
    status=201,
    creates=True,
    refuses=(NotFound, Forbidden, MissingProviderScopes, ReauthRequired, Conflict, ProviderUnavailable),
)


class ReferenceRoutes:
    """References."""

    def __init__(self, gate: Gate, references: References, tokens: Tokens) -> None:
        self._gate = gate
        self._tokens = tokens
        self._references = references

    def routes(self) -> list[DeclaredRoute]:
        """The routes of this resource."""
        return [self._gate.route(_ISSUE, self._issue)]

    async def _issue(self, call: Call) -> Response:
        connection = await self._gate.connection(call, _SCOPE)
        body = call.body(IssueReference)
        self._tokens.permit_handing_out(connection)
        reference = await self._references.issue(
            call.caller,
            connection,
            audience=body.audience,
            expires_in=body.expires_in,
            max_uses=body.max_uses,
            required_scopes=body.required_scopes,
            request_id=call.request_id,
        )
        return call.answer(ReferenceView(reference=reference, expires_in=body.expires_in))

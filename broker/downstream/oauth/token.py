"""``POST /oauth/token``: the endpoint owns the phases, each grant fills in what differs."""

from collections.abc import Awaitable, Mapping
from typing import Final, Protocol

from pydantic import BaseModel
from starlette.responses import Response

from broker.downstream.oauth.endpoint import OAUTH, OAuthCall, OAuthEndpoint
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import OAuthError, ProviderError, ProviderUnavailable

PATH: Final = "/oauth/token"


class Grant(Protocol):
    """What a grant does: read its parameters and answer the members of RFC 6749 §5.1."""

    @property
    def public(self) -> bool:
        """Whether a public client may use it."""

    @property
    def from_memory(self) -> bool:
        """Whether it is enough that its client proved itself a moment ago."""

    @property
    def form(self) -> type[BaseModel]:
        """The parameters it reads."""

    @property
    def answer(self) -> type[BaseModel]:
        """What it answers."""

    def __call__(self, call: OAuthCall) -> Awaitable[BaseModel]:
        """The answer to ``call``."""


class TokenEndpoint:
    """Picks the grant by ``grant_type``."""

    def __init__(self, endpoint: OAuthEndpoint, grants: Mapping[str, Grant]) -> None:
        self._endpoint = endpoint
        self._grants = grants

    def routes(self) -> list[DeclaredRoute]:
        """The route."""
        grants = self._grants.values()
        operation = Operation(
            face=OAUTH,
            name="token",
            method="POST",
            path=PATH,
            tag="OAuth",
            summary="Get a broker token, or an access token for a reference; log a machine in.",
            body=tuple(grant.form for grant in grants),
            answer=tuple(grant.answer for grant in grants),
            refuses=(ProviderError, ProviderUnavailable),
        )
        return [self._endpoint.route(operation, self._token, public=True, from_memory=self._from_memory)]

    def _from_memory(self, parameters: Mapping[str, str]) -> bool:
        grant = self._grants.get(parameters.get("grant_type", ""))
        return grant is None or grant.from_memory

    async def _token(self, call: OAuthCall) -> Response:
        grant = self._grants.get(call.required("grant_type"))
        if grant is None:
            raise OAuthError("unsupported_grant_type", "this server has no such grant")
        if call.client.public and not grant.public:
            raise OAuthError("unauthorized_client", "a public client can't use this grant: it has proven nothing")
        return call.answer(await grant(call))

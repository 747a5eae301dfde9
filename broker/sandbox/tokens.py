"""``POST /introspect`` (RFC 7662) and ``POST /revoke`` (RFC 7009): questions and orders about one token."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.clients import Client, authenticate
from broker.sandbox.errors import NO_STORE
from broker.sandbox.grants import AccessToken, Grant
from broker.sandbox.parameters import Parameters, read_form
from broker.sandbox.provider import Provider


class TokensEndpoints:
    """Both authenticate the client and know only tokens that this client was given."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def introspect(self, request: Request) -> Response:
        """What a token is worth now; for one that isn't worth anything just ``{"active": false}``."""
        self._provider.counters.asked("introspect")
        client, form = await self._authenticated(request)
        return JSONResponse(self._described(form.require("token"), client), headers=NO_STORE)

    async def revoke(self, request: Request) -> Response:
        """End a token; 200 also when there is no such token. It is found without a hint."""
        self._provider.counters.asked("revoke")
        client, form = await self._authenticated(request)
        behaviour = self._provider.behaviour
        self._provider.grants.revoke(form.require("token"), client_id=client.client_id, behaviour=behaviour)
        return Response(headers=NO_STORE)

    async def _authenticated(self, request: Request) -> tuple[Client, Parameters]:
        form = await read_form(request)
        form.refuse_repeated()
        return authenticate(self._provider.clients, request.headers.get("authorization"), form), form

    def _described(self, value: str, client: Client) -> dict[str, object]:
        grants = self._provider.grants
        token = grants.live_access_token(value) or grants.live_refresh_token(value, self._provider.behaviour)
        if token is None or token.grant.client_id != client.client_id:
            return {"active": False}
        if isinstance(token, AccessToken):
            return {
                **self._common(token.grant, token.scopes),
                "token_type": "Bearer",
                "iat": int(token.issued_at),
                "exp": int(token.expires_at),
            }
        return self._common(token.grant, token.grant.scopes)

    def _common(self, grant: Grant, scopes: tuple[str, ...]) -> dict[str, object]:
        return {
            "active": True,
            "iss": self._provider.issuer,
            "sub": grant.account.sub,
            "client_id": grant.client_id,
            "scope": " ".join(scopes),
        }

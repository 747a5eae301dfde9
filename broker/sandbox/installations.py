"""``/api/app/installations/{id}/access_tokens``: an app proves who it is, and gets a token for one installation."""

import json
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.assertions import app_of
from broker.sandbox.behaviour import Fault
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.faults import claim_fault, faulty
from broker.sandbox.grants import Grant
from broker.sandbox.keys import rfc3339
from broker.sandbox.parameters import read_body
from broker.sandbox.provider import Provider

_PERMISSIONS: Final = {"profile": "read", "messages": "write"}
"""What the app asks for wherever it is installed."""


class Installations:
    """Tokens for installations; ``token_fault`` comes before everything else."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def access_tokens(self, request: Request) -> Response:
        """A token that opens ``/whoami`` and ``/api`` as the account where the app is installed.

        The body may narrow it: ``{"permissions": {"messages": "read"}}``.
        """
        provider = self._provider
        provider.counters.asked("installation_tokens")
        if (fault := claim_fault(provider, "token_fault")) is not Fault.NONE:
            return faulty(provider, fault, {"token": "pat_of-no-grant"})
        client_id = app_of(provider, request.headers.get("authorization", ""))
        installation = request.path_params["installation"]
        account = provider.keys.installations.get(installation)
        if account is None or provider.behaviour.revokes(installation):
            raise OAuthError("not_found", "the app is not installed there", status=404)
        permissions = _narrowed(await read_body(request))
        scopes = tuple(scope for name, level in permissions.items() for scope in _scopes(name, level))
        issued = provider.grants.issue(Grant(client_id, account, scopes), provider.behaviour)
        answer = {
            "token": issued.access_token,
            "expires_at": rfc3339(provider.clock() + issued.expires_in),
            "permissions": permissions,
            "repository_selection": "all",
        }
        return JSONResponse(answer, status_code=201, headers=NO_STORE)


def _narrowed(body: bytes) -> dict[str, str]:
    if not body:
        return {**_PERMISSIONS}
    try:
        asked = json.loads(body)
        permissions = asked.get("permissions", _PERMISSIONS)
        unknown = permissions.keys() - _PERMISSIONS.keys()
    except (ValueError, RecursionError, AttributeError):
        raise OAuthError("invalid_request", "the body must be a JSON object") from None
    if unknown or any(_level(level) > _level(_PERMISSIONS[name]) for name, level in permissions.items()):
        raise OAuthError("unprocessable", "more than the installation allows", status=422)
    return dict(permissions)


def _level(level: object) -> int:
    return {"read": 1, "write": 2}.get(str(level), 3)


def _scopes(name: str, level: str) -> list[str]:
    if name == "profile":
        return ["profile"]
    return [f"{name}.read", *([f"{name}.write"] if level == "write" else [])]

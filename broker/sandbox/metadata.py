"""The well-known documents: where everything is and what is supported (RFC 8414)."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.accounts import SCOPES
from broker.sandbox.provider import Provider

_CLIENT_AUTHENTICATION = ["client_secret_basic", "client_secret_post"]


class MetadataEndpoint:
    """One document for both well-known addresses; this provider issues no ID tokens."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def get(self, _request: Request) -> Response:
        """The metadata, with the issuer exactly as it was asked for."""
        self._provider.counters.asked("metadata")
        issuer = self._provider.issuer
        device = {"device_authorization_endpoint": f"{issuer}/device_authorization"}
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                **(device if self._provider.behaviour.device_grant else {}),
                "revocation_endpoint": f"{issuer}/revoke",
                "introspection_endpoint": f"{issuer}/introspect",
                "userinfo_endpoint": f"{issuer}/whoami",
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": list(self._provider.grant_types),
                "token_endpoint_auth_methods_supported": _CLIENT_AUTHENTICATION,
                "revocation_endpoint_auth_methods_supported": _CLIENT_AUTHENTICATION,
                "introspection_endpoint_auth_methods_supported": _CLIENT_AUTHENTICATION,
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

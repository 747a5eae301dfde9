"""The refresh token grant (RFC 6749 §6): a machine that is logged in stays so. Our refresh tokens rotate."""

from typing import Final

from broker.access.device_sessions import DeviceLogin, DeviceSessions
from broker.access.limits import Limits
from broker.downstream.oauth.answers import DeviceTokenAnswer
from broker.downstream.oauth.endpoint import OAuthCall
from broker.downstream.oauth.forms import RefreshTokenForm
from broker.errors import OAuthError

GRANT_TYPE: Final = "refresh_token"


class RefreshTokenGrant:
    """Renews the tokens of machines."""

    form = RefreshTokenForm
    answer = DeviceTokenAnswer
    public = True
    from_memory = True

    def __init__(self, devices: DeviceSessions, limits: Limits) -> None:
        self._devices = devices
        self._limits = limits

    async def __call__(self, call: OAuthCall) -> DeviceTokenAnswer:
        """The next tokens.

        :raises OAuthError: ``invalid_grant``, ``invalid_scope``.
        """
        scope = call.parameters.get("scope")
        try:
            renewed = await self._devices.refresh(
                call.client,
                call.required("refresh_token"),
                None if scope is None else scope.split(),
                call.request_id,
            )
        except OAuthError as error:
            if error.error == "invalid_grant":
                await self._limits.failure(call.address)
            raise
        return device_tokens(renewed)


def device_tokens(login: DeviceLogin) -> DeviceTokenAnswer:
    """What a machine that is logged in is given."""
    return DeviceTokenAnswer(
        access_token=login.token.token,
        token_type="Bearer",  # noqa: S106 - the name of a type
        expires_in=login.token.expires_in,
        scope=" ".join(login.token.scopes),
        refresh_token=login.refresh_token,
        connection_id=login.connection_id,
    )

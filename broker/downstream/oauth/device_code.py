"""The device code grant (RFC 8628 §3.4): a machine whose person has agreed is logged in."""

from typing import Final

from broker.access.device_sessions import DeviceSessions
from broker.access.limits import Limits
from broker.connections.device_poll import DevicePolls
from broker.downstream.oauth.answers import DeviceTokenAnswer
from broker.downstream.oauth.endpoint import OAuthCall
from broker.downstream.oauth.forms import DeviceCodeForm
from broker.downstream.oauth.refresh_token import device_tokens
from broker.errors import OAuthError

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"


class DeviceCodeGrant:
    """Logs machines in."""

    form = DeviceCodeForm
    answer = DeviceTokenAnswer
    public = True
    from_memory = True

    def __init__(self, polls: DevicePolls, devices: DeviceSessions, limits: Limits) -> None:
        self._polls = polls
        self._devices = devices
        self._limits = limits

    async def __call__(self, call: OAuthCall) -> DeviceTokenAnswer:
        """Tokens for the machine, once for each device code.

        :raises OAuthError: one of the poll states of RFC 8628 §3.5, or ``invalid_grant``.
        """
        if not call.client.device:
            raise OAuthError("unauthorized_client", "the client is not registered for device login")
        try:
            authorization = await self._polls.collect(
                call.client.client_id, call.required("device_code"), request_id=call.request_id
            )
        except OAuthError as error:
            if error.error == "invalid_grant":
                await self._limits.failure(call.address)
            raise
        return device_tokens(await self._devices.start(call.client, authorization, call.request_id))

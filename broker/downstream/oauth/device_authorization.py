"""``POST /oauth/device_authorization`` (RFC 8628 §3.1): a machine with no screen asks to log in with an account."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from broker.access.limits import Limits
from broker.access.tokens import device_scopes
from broker.connections.device_request import DeviceOrder, DeviceRequests, scopes_of
from broker.downstream.oauth.answers import DeviceAuthorizationAnswer
from broker.downstream.oauth.endpoint import OAUTH, OAuthCall, OAuthEndpoint
from broker.downstream.oauth.forms import DeviceAuthorizationForm
from broker.downstream.operation import DeclaredRoute, Operation
from broker.errors import Conflict, InvalidRequest, NotFound, OAuthError, ProviderError, ProviderUnavailable
from broker.providers import Registry
from broker.upstream.parameters import choosing_hosts

PATH: Final = "/oauth/device_authorization"

_NAME_LENGTH: Final = 64
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
"""Hangul's fillers, Braille without a dot, the null notehead: printable by their category, and nothing to be seen."""
_SUBJECT_LENGTH: Final = 255
_PARAMETERS_LENGTH: Final = 1024

_AUTHORIZE: Final = Operation(
    face=OAUTH,
    name="device_authorization",
    method="POST",
    path=PATH,
    tag="OAuth",
    summary="Begin a device login: what the machine shows to its person (RFC 8628).",
    body=DeviceAuthorizationForm,
    answer=DeviceAuthorizationAnswer,
    refuses=(ProviderError, ProviderUnavailable),
)


class DeviceAuthorizationEndpoint:
    """Device authorizations; for clients that were registered for them."""

    def __init__(self, endpoint: OAuthEndpoint, requests: DeviceRequests, limits: Limits, providers: Registry) -> None:
        self._endpoint = endpoint
        self._requests = requests
        self._limits = limits
        self._providers = providers

    def routes(self) -> list[DeclaredRoute]:
        """The route."""
        return [self._endpoint.route(_AUTHORIZE, self._authorize, public=True)]

    async def _authorize(self, call: OAuthCall) -> Response:
        if not call.client.device:
            raise OAuthError("unauthorized_client", "the client is not registered for device login")
        if call.client.public:
            # Anybody can say its id, and each call leaves something in the store, and may ask a provider.
            await self._limits.device_request(call.address, call.client.client_id)
        try:
            invitation = await self._requests.open(self._order(call))
        except Conflict as error:
            raise OAuthError("invalid_request", error.detail, code=error.code) from None
        except InvalidRequest as error:
            # RFC 6749 §5.2 has no place for fields but the description.
            faults = "; ".join(f"{fault.field}: {fault.message}" for fault in error.faults)
            raise OAuthError("invalid_request", faults or error.detail) from None
        authorization = invitation.authorization
        return call.answer(
            DeviceAuthorizationAnswer(
                device_code=invitation.device_code,
                user_code=invitation.user_code,
                verification_uri=invitation.verification_uri,
                verification_uri_complete=invitation.verification_uri_complete,
                expires_in=(authorization.expires_at - authorization.created_at) // 1000,
                interval=authorization.interval,
            )
        )

    def _order(self, call: OAuthCall) -> DeviceOrder:
        name, scope, client = call.required("provider"), call.parameters.get("scope"), call.client
        broker_scopes = device_scopes(None if scope is None else scope.split(), client)
        if name not in self._providers:
            raise OAuthError("invalid_request", "there is no such provider", code=NotFound.code)
        if not client.reach.covers_provider(name):
            raise OAuthError("invalid_request", "the client was not given this provider", code="forbidden")
        provider, parameters = self._providers.get(name), _parameters(call)
        if client.public and (chosen := choosing_hosts(provider, parameters)):
            # Anybody can say to be this client, and would have the app's secret sent to a host of theirs.
            detail = f"parameters that choose a host take a client that authenticates: {', '.join(chosen)}"
            raise OAuthError("invalid_request", detail)
        wanted = call.parameters.get("provider_scope")
        scopes = [] if wanted is None else scopes_of(provider, wanted)
        listed = {*provider.scopes, *provider.default_scopes}
        if client.public and listed and not listed.issuperset(scopes):
            # Else whoever phishes chooses how much there is to be had.
            detail = (
                "a scope is asked for that the provider's entry does not list; that takes a client that authenticates"
            )
            raise OAuthError("invalid_scope", detail)
        return DeviceOrder(
            tenant=client.tenant,
            client_id=client.client_id,
            client_name=client.name,
            tokens_from=client.tokens_from,
            provider=provider,
            provider_scopes=scopes,
            broker_scopes=broker_scopes,
            subject=_subject(call),
            parameters=parameters,
            address=call.address,
            device_name=_device_name(call),
        )


def _subject(call: OAuthCall) -> str:
    subject = call.parameters.get("subject", "")
    if subject and call.client.public:
        raise OAuthError("invalid_request", "subject can only be given by a client that authenticates")
    if len(subject) > _SUBJECT_LENGTH or not subject.isprintable():
        raise OAuthError("invalid_request", f"subject has at most {_SUBJECT_LENGTH} printable characters")
    return subject


def _device_name(call: OAuthCall) -> str | None:
    name = call.parameters.get("device_name", "").strip()
    if len(name) > _NAME_LENGTH or not name.isprintable():
        raise OAuthError("invalid_request", f"device_name has at most {_NAME_LENGTH} printable characters")
    if name and not any(map(_shows, name)):
        # It would stand on the page as if the machine had said nothing, or as whatever is printed around it.
        raise OAuthError("invalid_request", "device_name has no character that shows")
    return name or None


def _shows(character: str) -> bool:
    """Whether it leaves ink by itself: a letter, digit, sign or symbol, and none that is made to be blank."""
    return unicodedata.category(character)[0] in "LNPS" and character not in _BLANK


def _parameters(call: OAuthCall) -> Mapping[str, str]:
    text = call.parameters.get("parameters", "{}")
    if len(text) > _PARAMETERS_LENGTH:
        raise InvalidRequest(f"parameters has at most {_PARAMETERS_LENGTH} characters")
    try:
        parameters = json.loads(text)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise InvalidRequest("parameters must be a JSON object of texts")
    return parameters

"""A running broker as a command sees it: over HTTP, as one of its clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from broker.errors import (
    BrokerError,
    BrokerUnreachable,
    FieldFault,
    InvalidRequest,
    NotFound,
    ProviderUnavailable,
    Unauthenticated,
)

_LOOKS_WITHIN: Final = 5.0
_ANSWERS_WITHIN: Final = 150.0
"""Seconds; completing waits for the provider, whose own deadline may be two minutes."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Who the command is to the broker."""

    client_id: str
    client_secret: str = field(repr=False)


class RemoteBroker:
    """The broker at ``url``."""

    def __init__(self, http: httpx2.Client, url: str) -> None:
        self._http = http
        self._url = url
        self._token = ""

    def check_ready(self) -> None:
        """Return if a broker answers and is ready.

        :raises BrokerUnreachable: none does.
        """
        answer = self._send("GET", "/readyz", timeout=_LOOKS_WITHIN)
        status = _fields(answer).get("status")
        if status == "not_ready":
            raise BrokerUnreachable(f"the broker at {self._url} is not ready: see broker doctor")
        if status != "ready":
            raise BrokerUnreachable(f"what answers at {self._url} is not a broker")

    def answers(self) -> bool:
        """Whether the broker is there at all, be it ready or not."""
        try:
            return self._send("GET", "/livez", timeout=_LOOKS_WITHIN).is_success
        except BrokerUnreachable:
            return False

    def sign_in(self, registration: Registration) -> None:
        """Get a broker token (RFC 6749 §4.4), for all calls that follow.

        :raises Unauthenticated: the broker does not know the client, or not with this secret.
        """
        proof = (registration.client_id, registration.client_secret)
        answer = self._send("POST", "/oauth/token", data={"grant_type": "client_credentials"}, auth=proof)
        body = _fields(answer)
        if not answer.is_success:
            detail = str(body.get("error_description") or f"the broker answered {answer.status_code}")
            raise Unauthenticated(detail) if body.get("error") == "invalid_client" else BrokerError(detail)
        self._token = str(body["access_token"])

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """A call of the JSON face.

        :raises BrokerError: what the broker said no with.
        """
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = self._send(method, path, json=body, headers=headers)
        if not answer.is_success:
            raise _error_of(answer)
        return _fields(answer)

    def _send(self, method: str, path: str, *, timeout: float = _ANSWERS_WITHIN, **content: Any) -> httpx2.Response:  # noqa: ANN401 - httpx's own
        try:
            return self._http.request(method, f"{self._url}{path}", timeout=timeout, **content)
        except httpx2.TransportError:
            raise BrokerUnreachable(f"no broker answers at {self._url}; start one with: broker serve") from None


def _fields(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error_of(answer: httpx2.Response) -> BrokerError:
    """A problem document (RFC 9457) as the error it was made from."""
    body = _fields(answer)
    detail = str(body.get("detail") or f"the broker answered {answer.status_code}")
    match answer.status_code:
        case 400:
            faults = [FieldFault(str(item["field"]), str(item["message"])) for item in body.get("errors", [])]
            return InvalidRequest(detail, faults)
        case 401:
            return Unauthenticated(detail)
        case 404:
            return NotFound(detail)
        case 503:
            return ProviderUnavailable(detail)
        case _:
            return BrokerError(detail)

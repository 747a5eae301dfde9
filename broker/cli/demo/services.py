"""The two clients of the broker, as their developers would write them: Acme's backend, and its worker.

Plain HTTP: any OAuth library could take the place of :meth:`BrokerClient.token`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

_TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant type
_REFERENCE: Final = "urn:broker:token-type:reference"


@dataclass(frozen=True, slots=True)
class Registration:
    """What ``broker clients create`` answered."""

    client_id: str
    client_secret: str = field(repr=False)


class Refused(Exception):
    """The broker, or the provider, said no."""

    def __init__(self, answer: httpx2.Response) -> None:
        body = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        self.status = answer.status_code
        self.code = str(body.get("code") or body.get("error") or "unreadable")
        self.detail = str(body.get("detail") or body.get("error_description") or "")
        super().__init__(f"{self.status} {self.code}: {self.detail}")


class BrokerClient:
    """A program that is registered at the broker."""

    def __init__(self, http: httpx2.Client, broker_url: str, registration: Registration) -> None:
        self._http = http
        self._url = broker_url
        self._registration = registration
        self._broker_token = ""

    @property
    def client_id(self) -> str:
        """Who it is to the broker."""
        return self._registration.client_id

    def token(self, **parameters: str) -> dict[str, Any]:
        """``POST /oauth/token`` with ``client_secret_basic`` (RFC 6749 §2.3.1).

        :raises Refused: the broker says no.
        """
        proof = (self._registration.client_id, self._registration.client_secret)
        return _understood(self._http.post(f"{self._url}/oauth/token", data=parameters, auth=proof))

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A call of the broker's JSON face.

        :raises Refused: the broker says no.
        """
        answer = self._send(method, path, body)
        if answer.status_code == 401:
            # Broker tokens live for 15 minutes.
            self._broker_token = ""
            answer = self._send(method, path, body)
        return _understood(answer)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx2.Response:
        if not self._broker_token:
            self._broker_token = self.token(grant_type="client_credentials")["access_token"]
        headers = {"Authorization": f"Bearer {self._broker_token}"}
        return self._http.request(method, f"{self._url}{path}", json=body, headers=headers)


class Backend(BrokerClient):
    """The app's backend: connects accounts and hands out references. It never sees a token of the provider."""

    def open_session(
        self, *, provider: str, subject: str, subject_name: str, connection_id: str | None = None
    ) -> dict[str, Any]:
        """Ask for a link that lets ``subject`` connect an account, or renew a connection."""
        wish = {"provider": provider, "subject": subject, "subject_name": subject_name}
        if connection_id is not None:
            wish["connection_id"] = connection_id
        return self.call("POST", "/v1/connect-sessions", wish)

    def session(self, session_id: str) -> dict[str, Any]:
        """Where an attempt to connect stands."""
        return self.call("GET", f"/v1/connect-sessions/{session_id}")

    def complete(self, session_id: str, completion_code: str, *, subject: str) -> dict[str, Any]:
        """Say who is signed in; answers the connection if it is who the session was opened for."""
        proof = {"completion_code": completion_code, "subject": subject}
        connection: dict[str, Any] = self.call("POST", f"/v1/connect-sessions/{session_id}/complete", proof)[
            "connection"
        ]
        return connection

    def connection(self, connection_id: str) -> dict[str, Any]:
        """How a connection is. No answer holds its credential."""
        return self.call("GET", f"/v1/connections/{connection_id}")

    def reference(self, connection_id: str, *, audience: str) -> str:
        """A reference with which ``audience``, and nobody else, can get the access token once."""
        wish = {"audience": audience, "expires_in": 60}
        return str(self.call("POST", f"/v1/connections/{connection_id}/references", wish)["reference"])

    def events(self, connection_id: str) -> list[dict[str, Any]]:
        """The audit record of a connection, newest first."""
        items: list[dict[str, Any]] = self.call("GET", f"/v1/connections/{connection_id}/events?limit=100")["items"]
        return items

    def disconnect(self, connection_id: str) -> dict[str, Any]:
        """End a connection here and at the provider."""
        return self.call("DELETE", f"/v1/connections/{connection_id}")


class Worker(BrokerClient):
    """The worker: gets an access token when there is something to do, and calls the provider with it."""

    def __init__(self, http: httpx2.Client, broker_url: str, registration: Registration, *, provider_url: str) -> None:
        super().__init__(http, broker_url, registration)
        self._provider_url = provider_url

    def redeem(self, reference: str) -> dict[str, Any]:
        """Exchange a reference for the access token it stands for (RFC 8693)."""
        return self.token(grant_type=_TOKEN_EXCHANGE, subject_token=reference, subject_token_type=_REFERENCE)

    def fetch(self, connection_id: str, *, stale_generation: int | None = None) -> dict[str, Any]:
        """The connection's access token; ``stale_generation`` is one that the provider refused."""
        body = {} if stale_generation is None else {"stale_generation": stale_generation}
        return self.call("POST", f"/v1/connections/{connection_id}/token", body)

    def ask_provider(self, path: str, access_token: str) -> httpx2.Response:
        """``GET`` something of the provider's API."""
        headers = {"Authorization": f"Bearer {access_token}"}
        return self._http.get(f"{self._provider_url}{path}", headers=headers)

    def messages(self, reference: str, *, generation: int) -> list[dict[str, Any]]:
        """The messages of the account that ``reference`` leads to.

        :param generation: which one the connection was at when the reference was issued.
        """
        token = self.redeem(reference)
        answer = self.ask_provider("/api/messages", token["access_token"])
        if answer.status_code == 401:
            # Dead before its time. Saying which one was refused keeps many workers from refreshing one after another.
            token = self.fetch(token["connection_id"], stale_generation=generation)
            answer = self.ask_provider("/api/messages", token["access_token"])
        messages: list[dict[str, Any]] = _understood(answer)["messages"]
        return messages


def _understood(answer: httpx2.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise Refused(answer)
    body: dict[str, Any] = answer.json()
    return body

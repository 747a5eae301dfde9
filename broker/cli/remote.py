"""A running broker as a command sees it: over HTTP, as one of its clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from broker.errors import (
    BrokerError,
    BrokerUnreachable,
    Conflict,
    FieldFault,
    Forbidden,
    InvalidRequest,
    NotFound,
    OAuthError,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
    Unauthenticated,
)

_LOOKS_WITHIN: Final = 5.0
_ANSWERS_WITHIN: Final = 150.0
"""Seconds; completing waits for the provider, whose own deadline may be two minutes."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Who the command is to the broker; a public client (RFC 6749 §2.1) has no secret."""

    client_id: str
    client_secret: str = field(default="", repr=False)


def connected(url: str) -> httpx2.Client:
    """What reaches the broker at ``url``: by the machine's proxy and with its certificates, unless it is this machine.

    A redirect is not followed: what is sent holds secrets.
    """
    return httpx2.Client(trust_env=not on_loopback(url))


def on_loopback(url: str) -> bool:
    """Whether ``url`` leads to this machine."""
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}


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
        status = (_fields(answer) or {}).get("status")
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

    @property
    def url(self) -> str:
        """Where it is."""
        return self._url

    def sign_in(self, registration: Registration) -> frozenset[str]:
        """Get a broker token (RFC 6749 §4.4), for all calls that follow; answers the client scopes that it has.

        :raises Unauthenticated: the broker does not know the client, or not with this secret.
        """
        body = self.oauth("/oauth/token", {"grant_type": "client_credentials"}, registration)
        self.use(str(body["access_token"]))
        return frozenset(str(body.get("scope", "")).split())

    def use(self, token: str) -> None:
        """Make all calls that follow with this broker token."""
        self._token = token

    def oauth(self, path: str, form: Mapping[str, str], client: Registration) -> dict[str, Any]:
        """A call of the OAuth face, as ``client``.

        :raises Unauthenticated: the broker does not know the client, or not with this secret.
        :raises OAuthError: the error that the protocol has for it (RFC 6749 §5.2, RFC 8628 §3.5).
        :raises BrokerUnreachable: it can't answer now (5xx).
        :raises RateLimited: it asks for patience (429).
        """
        if client.client_secret:
            answer = self._send("POST", path, data=form, auth=(client.client_id, client.client_secret))
        else:
            answer = self._send("POST", path, data={**form, "client_id": client.client_id})
        if not answer.is_success:
            error = _oauth_error_of(answer, self._fields_of(answer))
            raise self._unknown(client, error) if isinstance(error, Unauthenticated) else error
        # RFC 7009 §2.2: whoever revokes needs no body.
        return self._fields_of(answer) if answer.content else {}

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """A call of the JSON face.

        :raises BrokerError: what the broker said no with.
        """
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = self._send(method, path, json=body, headers=headers)
        if not answer.is_success:
            raise _error_of(answer, self._fields_of(answer))
        return self._fields_of(answer)

    def _fields_of(self, answer: httpx2.Response) -> dict[str, Any]:
        """The members of an answer.

        :raises BrokerUnreachable: it isn't one of a broker's: whatever it says, it says nothing about a login.
        """
        fields = _fields(answer)
        if fields is not None:
            return fields
        if answer.status_code >= 500:
            fault = f"the broker at {self._url} is away: what stands before it answered {answer.status_code}"
            raise BrokerUnreachable(fault, retry_after=_seconds(answer))
        fault = f"what answers at {self._url} is not a broker (HTTP {answer.status_code})"
        raise BrokerUnreachable(f"{fault}; {_where_instead(self._url, answer)}")

    def _unknown(self, client: Registration, error: Unauthenticated) -> Unauthenticated:
        """What is at fault where the broker doesn't take ``client``; its id is not repeated, it may be a secret."""
        if client.client_secret:
            which = "does not know this client, or not with this secret: see BROKER_CLIENT_ID and BROKER_CLIENT_SECRET"
        else:
            which = "does not know this client, or it has a secret: see BROKER_CLIENT_ID (and BROKER_CLIENT_SECRET)"
        return Unauthenticated(f"{error.detail}: the broker at {self._url} {which}")

    def _send(self, method: str, path: str, *, timeout: float = _ANSWERS_WITHIN, **content: Any) -> httpx2.Response:  # noqa: ANN401 - httpx's own
        try:
            return self._http.request(method, f"{self._url}{path}", timeout=timeout, **content)
        except httpx2.TransportError as error:
            raise BrokerUnreachable(_no_answer(self._url, error)) from None


def _no_answer(url: str, error: httpx2.TransportError) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"the certificate of {url} can't be trusted; SSL_CERT_FILE may name the authority that issued it"
    if "[SSL" in text:
        return f"what listens at {url} speaks no TLS that we understand; is it {_with_scheme('http', url)}?"
    if isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError) and url.startswith("http:"):
        fault = f"what listens at {url} gave no answer that we understand"
        return f"{fault}; if it speaks TLS it is {_with_scheme('https', url)}"
    advice = "start one with: broker serve, or set BROKER_URL" if on_loopback(url) else "is BROKER_URL right?"
    return f"no broker answers at {url}; {advice}"


def _where_instead(url: str, answer: httpx2.Response) -> str:
    """What to do about an answer of somebody else."""
    if answer.has_redirect_location:
        target = answer.headers["Location"].partition("?")[0]
        return f"it leads to {target}: set BROKER_URL to where the broker itself is"
    if answer.status_code == 400 and url.startswith("http:"):
        return f"is BROKER_URL right, or is it {_with_scheme('https', url)}?"
    return "is BROKER_URL right?"


def _with_scheme(scheme: str, url: str) -> str:
    return f"{scheme}://{url.partition('://')[2]}"


def _fields(answer: httpx2.Response) -> dict[str, Any] | None:
    """The members of a JSON object; ``None``: it is none."""
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _oauth_error_of(answer: httpx2.Response, body: Mapping[str, Any]) -> BrokerError:
    """An OAuth error answer as an error; what the broker says in it is for people."""
    detail = str(body.get("error_description") or f"the broker answered {answer.status_code}")
    if answer.status_code == 429:
        return RateLimited(detail, retry_after=_seconds(answer))
    if answer.status_code >= 500:
        return BrokerUnreachable(detail, retry_after=_seconds(answer))
    if body.get("error") == "invalid_client":
        return Unauthenticated(detail)
    if "error" not in body:
        return BrokerError(detail)
    return OAuthError(str(body["error"]), detail, status_code=answer.status_code, code=body.get("code"))


def _error_of(answer: httpx2.Response, body: Mapping[str, Any]) -> BrokerError:
    """A problem document (RFC 9457) as the error it was made from."""
    detail = str(body.get("detail") or f"the broker answered {answer.status_code}")
    match answer.status_code:
        case 400:
            faults = [FieldFault(str(item["field"]), str(item["message"])) for item in body.get("errors", [])]
            return InvalidRequest(detail, faults)
        case 401:
            return Unauthenticated(detail)
        case 403:
            return Forbidden(detail)
        case 404:
            return NotFound(detail)
        case 409:
            return ReauthRequired(detail) if body.get("code") == ReauthRequired.code else Conflict(detail)
        case 429:
            return RateLimited(detail, retry_after=_seconds(answer))
        case 503:
            return ProviderUnavailable(detail, retry_after=_seconds(answer))
        case _:
            return BrokerError(detail)


def _seconds(answer: httpx2.Response) -> int | None:
    """``Retry-After`` (RFC 9110 §10.2.3), where it says seconds."""
    text = answer.headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None

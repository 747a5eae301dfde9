"""This machine's logins at a broker: which one is meant, its broker token kept fresh, calls made with it."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from broker.cli.credentials import Credentials, Login, Tokens
from broker.cli.faults import NotLoggedIn
from broker.cli.remote import Registration, RemoteBroker
from broker.errors import (
    BrokerUnreachable,
    ConfigurationError,
    Forbidden,
    NotFound,
    OAuthError,
    ReauthRequired,
    Unauthenticated,
)

_OUTLIVES: Final = 30.0
"""Seconds that a broker token still has to live to be used: clocks differ, and the call takes its time."""
_REVOKED: Final = "revoked"
"""A connection's status that no other follows."""
_PAUSES: Final = (0.5, 2.0)
"""Seconds between tries to renew. Well within the minute for which the broker forgives an answer that was lost."""


class Machine:
    """The logins at one broker."""

    def __init__(
        self,
        broker: RemoteBroker,
        credentials: Credentials,
        configured: Registration | None,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._broker = broker
        self._credentials = credentials
        self._configured = configured
        self._now = now
        self._sleep = sleep

    def logins(self) -> Sequence[Login]:
        """All of them, the newest first."""
        return self._credentials.logins(self._broker.url)

    def find(self, name: str) -> Login | None:
        """The login with the connection ``name`` (``con_…``), or the newest one with the provider ``name``."""
        return next((login for login in self.logins() if name in {login.connection_id, login.provider}), None)

    def fetch(self, login: Login, *, refused: bool = False, min_ttl: int = 0) -> dict[str, Any]:
        """An access token of the provider, with what the broker says about it; remembered as the one that was served.

        :param refused: the provider took the one that was served last no longer: it has to be another one.
        :raises NotLoggedIn: the login has ended, or the provider's grant has.
        """
        wishes: dict[str, object] = {"min_ttl": min_ttl}
        if refused or login.served.get("refused"):
            wishes["stale_generation"] = login.served.get("generation") or self._released(login, {}).get("generation")
        token = self._released(login, wishes)
        self._note_served(login, token)
        return token

    def note_refused(self, login: Login, access_token: str) -> None:
        """Have the next one be another token, if it is ``access_token`` that this login stands for now.

        :raises NotLoggedIn: the login has ended, or the provider's grant has.
        """
        if not login.served:
            # It came from elsewhere, or was served before this was kept: only the broker knows what it is.
            login = self._note_served(login, self._released(login, {}))
        if hmac.compare_digest(login.served.get("digest", ""), _digest(access_token)):
            self._credentials.update(login, served={**login.served, "refused": True})

    def _released(self, login: Login, wishes: Mapping[str, object]) -> dict[str, Any]:
        try:
            return self.call(login, "POST", f"/v1/connections/{login.connection_id}/token", wishes)
        except ReauthRequired as error:
            with suppress(Forbidden):
                self.connection(login)  # perhaps it was disconnected, and the login is over with it
            raise NotLoggedIn(f"{login.provider}: {error.detail}; log in again: {_again(login)}") from None

    def _note_served(self, login: Login, token: Mapping[str, Any]) -> Login:
        served = {"digest": _digest(str(token.get("access_token", ""))), "generation": token.get("generation")}
        if served != login.served:
            # A token that is there is not withheld because this can't be kept.
            with suppress(ConfigurationError):
                self._credentials.update(login, served=served)
        return replace(login, served=served)

    def call(self, login: Login, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """A call of the JSON face with the login's broker token.

        :raises NotLoggedIn: the login has ended.
        :raises BrokerError: what the broker said no with.
        """
        tokens = self._fresh(login)
        self._broker.use(tokens.access_token)
        try:
            return self._broker.call(method, path, body)
        except Unauthenticated:
            # It was taken back, or the clock of this machine is wrong; the login itself may be well.
            self._broker.use(self._fresh(login, refused=tokens.access_token).access_token)
        try:
            return self._broker.call(method, path, body)
        except Unauthenticated:
            raise self._ended(login) from None

    def connection(self, login: Login) -> dict[str, Any]:
        """The connection that the login is bound to.

        :raises NotLoggedIn: the login has ended, or what it was bound to has.
        """
        try:
            connection = self.call(login, "GET", f"/v1/connections/{login.connection_id}")
        except NotFound:
            raise self._ended(login) from None
        if connection.get("status") == _REVOKED:
            raise self._ended(login)
        return connection

    def provider(self, login: Login) -> dict[str, Any]:
        """The provider that the login is with."""
        return self.call(login, "GET", f"/v1/providers/{quote(login.provider, safe='')}")

    def end(self, login: Login) -> None:
        """Log out: the broker ends the device session, and the login is forgotten here.

        :raises BrokerUnreachable: it can't be told; the login is kept, so that it can be ended later.
        """
        tokens = self._credentials.tokens(login)
        if tokens is not None:
            self._broker.oauth("/oauth/revoke", {"token": tokens.refresh_token}, self._client(login))
        self._credentials.forget(login)

    def _fresh(self, login: Login, refused: str = "") -> Tokens:
        """Tokens of which the broker token is good for a while, and is not the one that was ``refused``."""
        tokens = self._credentials.tokens(login)
        if tokens is not None and self._serves(tokens, refused):
            return tokens
        with self._credentials.renewing(login):
            # Whoever held the lock before may have renewed them.
            tokens = self._credentials.tokens(login)
            if tokens is None:
                raise NotLoggedIn(f"not logged in with {login.provider!r} any more; log in again: {_again(login)}")
            return tokens if self._serves(tokens, refused) else self._renewed(login, tokens)

    def _serves(self, tokens: Tokens, refused: str) -> bool:
        return tokens.access_token not in {"", refused} and self._now() + _OUTLIVES < tokens.expires_at

    def _renewed(self, login: Login, tokens: Tokens) -> Tokens:
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        try:
            body = self._persistently(form, self._client(login))
        except OAuthError as error:
            if error.error != "invalid_grant":
                raise
            raise self._ended(login) from None
        renewed = tokens_of(body, self._now())
        # Before it is used: from then on its predecessor is worth nothing.
        self._credentials.renew(login, renewed)
        return renewed

    def _persistently(self, form: Mapping[str, str], client: Registration) -> dict[str, Any]:
        """The broker's answer. An answer that gets lost is asked for again at once: later it would count as reuse."""
        for pause in _PAUSES:
            try:
                return self._broker.oauth("/oauth/token", form, client)
            except BrokerUnreachable:
                self._sleep(pause)
        return self._broker.oauth("/oauth/token", form, client)

    def _client(self, login: Login) -> Registration:
        if not login.confidential:
            return Registration(login.client_id)
        configured = self._configured
        if configured is None or configured.client_id != login.client_id or not configured.client_secret:
            fault = f"the login with {login.provider!r} belongs to the client {login.client_id}"
            raise ConfigurationError([f"{fault}: set BROKER_CLIENT_ID and BROKER_CLIENT_SECRET to that one's"])
        return configured

    def _ended(self, login: Login) -> NotLoggedIn:
        self._credentials.forget(login)
        return NotLoggedIn(f"the login with {login.provider!r} has ended; log in again: {_again(login)}")


def tokens_of(body: Mapping[str, Any], now: float) -> Tokens:
    """The tokens in an answer of the token endpoint.

    :raises BrokerUnreachable: it is no broker's answer.
    """
    try:
        return Tokens(str(body["refresh_token"]), str(body["access_token"]), now + int(body["expires_in"]))
    except (KeyError, TypeError, ValueError):
        raise BrokerUnreachable("what answers there is not a broker: its answer has no tokens") from None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _again(login: Login) -> str:
    return f"broker login {login.provider}"

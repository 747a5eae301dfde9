"""Whose token ``broker token`` and ``broker exec`` mean: a login of this machine, else what a client may fetch."""

from typing import Any, Protocol
from urllib.parse import quote, urlencode

from broker.cli.credentials import Login
from broker.cli.faults import NotLoggedIn
from broker.cli.headless import Headless
from broker.cli.machine import Machine
from broker.cli.remote import RemoteBroker
from broker.errors import Conflict, NotFound, ProviderError, Unauthenticated


class Target(Protocol):
    """A connection that tokens can be had of."""

    def fetch(self, min_ttl: int, *, refused: bool) -> dict[str, Any]:
        """A token that lives for another ``min_ttl`` seconds if the provider can issue such one.

        :param refused: the provider refused the last one; it has to be another one.
        """

    def provider(self) -> dict[str, Any]:
        """The provider that the connection is with."""


def target(at: Headless, name: str) -> Target:
    """What ``name`` means: a connection (``con_…``), or a provider: its newest login, or a client's one connection.

    :raises NotLoggedIn: there is no login, and no client that could stand in.
    :raises NotFound: the client has no active connection with that provider.
    :raises Conflict: it has several.
    """
    login = at.machine.find(name)
    if login is not None:
        return _LoggedIn(at.machine, login)
    if not _signed_in(at):
        what = "" if name.startswith("con_") else f"; log in: broker login {name}"
        raise NotLoggedIn(f"not logged in with {name!r} at {at.broker.url}{what}")
    return _Fetched(at.broker, name if name.startswith("con_") else _only_connection(at.broker, name))


def shown(token: dict[str, Any]) -> str:
    """The access token in an answer, if it is one that can stand on a line.

    :raises ProviderError: it holds what no token holds (RFC 6750 §2.1), and could mean something to who reads it.
    """
    text = str(token["access_token"])
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise ProviderError("the provider's token holds characters that no token has")
    return text


class _LoggedIn:
    def __init__(self, machine: Machine, login: Login) -> None:
        self._machine = machine
        self._login = login

    def fetch(self, min_ttl: int, *, refused: bool) -> dict[str, Any]:
        return self._machine.fetch(self._login, refused=refused, min_ttl=min_ttl)

    def provider(self) -> dict[str, Any]:
        return self._machine.provider(self._login)


class _Fetched:
    def __init__(self, broker: RemoteBroker, connection_id: str) -> None:
        self._broker = broker
        self._path = f"/v1/connections/{quote(connection_id, safe='')}"

    def fetch(self, min_ttl: int, *, refused: bool) -> dict[str, Any]:
        wishes: dict[str, object] = {"min_ttl": min_ttl}
        if refused:
            # A client keeps nothing here of what it was given.
            wishes["stale_generation"] = self._broker.call("POST", f"{self._path}/token", {})["generation"]
        return self._broker.call("POST", f"{self._path}/token", wishes)

    def provider(self) -> dict[str, Any]:
        name = str(self._broker.call("GET", self._path)["provider"])
        return self._broker.call("GET", f"/v1/providers/{quote(name, safe='')}")


def _signed_in(at: Headless) -> bool:
    """Whether there is a client to sign in as: the configured one, or the one that ``broker connect`` made here."""
    if at.configured is not None:
        if at.configured.client_secret:
            at.broker.sign_in(at.configured)
        return bool(at.configured.client_secret)
    from broker.cli.registration import CONNECT  # noqa: PLC0415 - brings the whole broker along

    own = CONNECT.remembered(at.settings, at.broker.url)
    try:
        return own is not None and "tokens:read" in at.broker.sign_in(own)
    except Unauthenticated:
        return False


def _only_connection(broker: RemoteBroker, provider: str) -> str:
    query = urlencode({"provider": provider, "status": "active", "limit": 20})
    found = broker.call("GET", f"/v1/connections?{query}")["items"]
    if not found:
        raise NotFound(f"there is no active connection with {provider!r}; make one: broker login {provider}")
    if len(found) > 1:
        lines = ", ".join(f"{one['id']} ({_whose(one)})" for one in found)
        raise Conflict(f"there are several connections with {provider!r}; name one of them: {lines}")
    return str(found[0]["id"])


def _whose(connection: dict[str, Any]) -> str:
    account = connection["account"] or {}
    return f"{connection['subject']}, {account.get('name') or account.get('id') or 'account unknown'}"

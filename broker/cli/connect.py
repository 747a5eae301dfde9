"""``broker connect PROVIDER``: the browser flow from a terminal, on a developer's own machine."""

import getpass
import secrets
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx2
import typer

from broker.cli.invitation import has_display
from broker.cli.loopback import listening
from broker.cli.output import Json, note, print_fields, print_json
from broker.cli.parameters import parameters_of
from broker.cli.registration import sign_in
from broker.cli.remote import RemoteBroker
from broker.cli.session import configured_providers
from broker.errors import BrokerUnreachable, ConfigurationError, Conflict, NotFound
from broker.settings import Settings, load_settings

commands = typer.Typer()

_PATIENCE: Final = 1800.0
"""Seconds that a person has for signing in and approving, or for making the key that the page asks for: as many as the
link can be opened."""
_LOOKS_EVERY: Final = 1.5
_LOOKS_IN_VAIN: Final = 3
"""After so many looks, so many seconds apart, the broker counts as gone."""
_NEXT: Final = """
All of them: broker connections list
Its token, for a service (broker clients create my-service --scope tokens:read):
  curl -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials {url}/oauth/token
  curl -X POST -H "Authorization: Bearer $BROKER_TOKEN" {url}/v1/connections/{id}/token"""
_NEXT_BY_PROXY: Final = """
All of them: broker connections list
Its API, for a service (broker clients create my-service --scope proxy):
  curl -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials {url}/oauth/token
  curl -H "Authorization: Bearer $BROKER_TOKEN" {url}/proxy/{id}/…"""
_WITHOUT_TOKEN: Final = frozenset({"basic", "custom", "none", "aws_sigv4"})


@commands.command()
def connect(
    provider: Annotated[str, typer.Argument(help="An entry of providers.yaml.")],
    subject: Annotated[
        str | None, typer.Option(help="Whose connection it will be. Default: local:<your user name>.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope of the provider; may be repeated. Default: the provider's own.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="What the provider asks for, such as a subdomain; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    connection: Annotated[
        str | None, typer.Option(help="Renew this connection instead of making another one.", metavar="con_…")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the link.")] = False,
    as_json: Json = False,
) -> None:
    """Connect an account of yours in the browser. Needs a running broker (broker serve)."""
    parameters = parameters_of(parameter or [])
    settings = load_settings()
    url = settings.url or settings.public_url
    with httpx2.Client(trust_env=False) as http:
        broker = RemoteBroker(http, url)
        broker.check_ready()
        sign_in(broker, settings, url)
        _check_provider(broker, provider, settings)
        wish = {
            "provider": provider,
            "subject": subject or _subject(broker, connection),
            "scopes": scope or [],
            "parameters": parameters,
            "connection_id": connection,
        }
        connected = _connect(broker, wish, open_browser=not no_browser)
    if as_json:
        print_json(connected)
    else:
        _print(connected, url)


def _subject(broker: RemoteBroker, renewed: str | None) -> str:
    """Whose the connection will be: it stays with whom it is, and a new one is this user's."""
    if renewed is None:
        return f"local:{getpass.getuser()}"
    return str(broker.call("GET", f"/v1/connections/{quote(renewed, safe='')}")["subject"])


def _check_provider(broker: RemoteBroker, name: str, settings: Settings) -> None:
    try:
        provider = broker.call("GET", f"/v1/providers/{quote(name, safe='')}")
    except NotFound:
        if _written_down(name, settings):
            # The broker reads the file when it starts.
            fault = f"{settings.providers_file} has a provider {name!r} that the running broker does not know yet"
            raise NotFound(f"{fault}: restart broker serve") from None
        known = ", ".join(item["name"] for item in broker.call("GET", "/v1/providers")["items"])
        raise NotFound(f"there is no provider {name!r}; there are: {known or 'none'}") from None
    if not provider["ready"]:
        raise ConfigurationError(
            [
                f"{provider['display_name']} is not ready. What the broker lacks:",
                *(f"  {missing}" for missing in provider["missing"]),
                *_to_register(provider),
                _where_to_set(provider["missing"]),
            ]
        )


def _to_register(provider: Mapping[str, Any]) -> list[str]:
    """An app at the provider; where nobody is sent there, it needs no address to come back to."""
    if provider["redirect_uri"] is None:
        return []
    return [f"Register an app at {provider['display_name']} with the redirect URI {provider['redirect_uri']}"]


def _written_down(name: str, settings: Settings) -> bool:
    """Whether this machine's file has the provider. A file that can't be read is not this command's concern."""
    try:
        return name in configured_providers(settings)
    except ConfigurationError:
        return False


def _where_to_set(missing: Sequence[str]) -> str:
    """A variable is set in the environment; a key that the entry lacks is written into it."""
    if all(what.startswith("environment variable ") for what in missing):
        return "Set what it gives you in the broker's environment or .env, and restart broker serve."
    return "Write what it gives you into its entry of providers.yaml, and restart broker serve."


def _connect(broker: RemoteBroker, wish: Mapping[str, object], *, open_browser: bool) -> dict[str, Any]:
    """Send the person to the connect page, wait for the browser to return, complete; answers the connection."""
    state = secrets.token_urlsafe(32)
    session: dict[str, Any] = {}

    def finish(answer: Mapping[str, str]) -> dict[str, Any]:
        return _complete(broker, session["id"], str(wish["subject"]), answer)

    with listening(state, finish) as (return_url, result):
        session |= broker.call("POST", "/v1/connect-sessions", {**wish, "return_url": return_url, "state": state})
        note("Open this link in a browser on this machine:")
        note(f"  {session['connect_url']}")
        if open_browser and has_display():
            webbrowser.open(session["connect_url"])
        with _waiting("Waiting for you in the browser"):
            return _wait(result, broker)


def _complete(broker: RemoteBroker, session_id: str, subject: str, answer: Mapping[str, str]) -> dict[str, Any]:
    if "error" in answer:
        raise Conflict(_why(broker, session_id, answer["error"]))
    proof = {"completion_code": answer.get("completion_code", ""), "subject": subject}
    connection: dict[str, Any] = broker.call("POST", f"/v1/connect-sessions/{session_id}/complete", proof)["connection"]
    return connection


def _why(broker: RemoteBroker, session_id: str, error: str) -> str:
    """What the person reads who is not connected. The session knows more than the address the browser came to."""
    if error == "access_denied":
        return "you or the provider said no (access_denied)"
    detail = broker.call("GET", f"/v1/connect-sessions/{session_id}")["error_detail"]
    return f"the account was not connected: {error}" + (f" ({detail})" if detail else "")


def _wait(result: "Future[dict[str, Any]]", broker: RemoteBroker) -> dict[str, Any]:
    """What came of it. Where the broker is gone, the person will not come back: nobody is there to send them.

    :raises BrokerUnreachable: it stays away for longer than a restart takes.
    """
    deadline, away = time.monotonic() + _PATIENCE, 0
    while time.monotonic() < deadline:
        # Not the exception: the work itself may raise a TimeoutError, which is no end of our patience.
        if wait([result], _LOOKS_EVERY).done:
            return result.result()
        away = 0 if broker.answers() else away + 1
        if away == _LOOKS_IN_VAIN:
            raise BrokerUnreachable("the broker stopped answering meanwhile; start it again and repeat this command")
    raise Conflict("nobody came back from the browser within half an hour; try again")


@contextmanager
def _waiting(text: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - needed where a person looks

    with Console(stderr=True).status(text):
        yield


def _print(connection: Mapping[str, Any], url: str) -> None:
    account = connection["account"] or {}
    print_fields(
        {
            "connected": account.get("name") or account.get("id") or connection["provider"],
            "connection": connection["id"],
            "subject": connection["subject"],
            "scopes": " ".join(connection["scopes"]),
        }
    )
    told = _NEXT_BY_PROXY if connection["credential_type"] in _WITHOUT_TOKEN else _NEXT
    print(told.format(url=url, id=connection["id"]))

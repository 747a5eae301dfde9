"""``broker login PROVIDER``: log this machine in with an account at a provider, by a code (RFC 8628)."""

import json
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from broker.cli.credentials import Login
from broker.cli.device_grant import Invitation, Waiting, ask
from broker.cli.headless import Headless, headless
from broker.cli.invitation import open_browser, show, waiting
from broker.cli.machine import tokens_of
from broker.cli.output import note, print_fields, print_json_line
from broker.cli.parameters import parameters_of
from broker.cli.remote import Registration
from broker.clock import rfc3339
from broker.errors import BrokerError, ConfigurationError, NotFound, OAuthError

commands = typer.Typer()

_NAME_LENGTH: Final = 64


@commands.command()
def login(
    provider: Annotated[str, typer.Argument(help="A provider that the broker knows.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope of the provider; may be repeated. Default: the provider's own.")
    ] = None,
    device_name: Annotated[
        str | None, typer.Option(help="How this machine calls itself. Default: its host name.", metavar="NAME")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="What the provider asks for, such as a subdomain; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only show the code and the address.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line with the codes at once, and another with the login.")
    ] = False,
) -> None:
    """Log this machine in with an account: approve with a code, on any device. Needs no browser here."""
    wish = _wish(provider, scope or [], device_name, parameters_of(parameter or []))
    with headless() as at:
        # Before a person is asked for anything.
        at.credentials.make_folder()
        client, invitation = _begin(at, wish)
        made = _logged_in(at, client, provider, _wait(at, client, invitation, provider, no_browser, as_json))
        described, next_steps = _describe(at, made)
    if as_json:
        print_json_line(described)
    else:
        _print(described, next_steps)


def _wish(
    provider: str, scopes: Sequence[str], device_name: str | None, parameters: Mapping[str, str]
) -> dict[str, str]:
    """The form of the request: what is not said is left to the broker.

    :raises typer.BadParameter: the name is none that a broker takes.
    """
    if device_name is not None and (len(device_name) > _NAME_LENGTH or not device_name.isprintable()):
        raise typer.BadParameter(f"at most {_NAME_LENGTH} printable characters", param_hint="--device-name")
    wish = {"provider": provider, "device_name": _device_name() if device_name is None else device_name}
    if scopes:
        wish["provider_scope"] = " ".join(scopes)
    if parameters:
        wish["parameters"] = json.dumps(parameters)
    return wish


def _device_name() -> str:
    name = socket.gethostname()
    return name[:_NAME_LENGTH] if name.isprintable() else ""


def _begin(at: Headless, wish: Mapping[str, str]) -> tuple[Registration, Invitation]:
    """Ask for the codes, as the configured client, else as our own; answers which one it was."""
    if at.configured is not None:
        return at.configured, _ask(at, at.configured, wish)
    from broker.cli.registration import LOGIN  # noqa: PLC0415 - brings the whole broker along

    if at.broker.url != at.settings.public_url:
        raise ConfigurationError([f"{at.broker.url} is not this machine's broker: {LOGIN.advice}"])
    # Before a client is made: perhaps there is no broker here at all.
    at.broker.check_ready()
    return LOGIN.use(at.settings, at.broker.url, lambda client: (client, _ask(at, client, wish)))


def _ask(at: Headless, client: Registration, wish: Mapping[str, str]) -> Invitation:
    try:
        return ask(at.broker, client, wish)
    except OAuthError as error:
        if error.broker_code != NotFound.code:
            raise
        known = _providers(at, client)
        there = (
            f"there are: {', '.join(known)}" if known else "`broker providers list` on its machine says which it has"
        )
        raise NotFound(f"there is no provider {wish['provider']!r} at {at.broker.url}; {there}") from None


def _providers(at: Headless, client: Registration) -> Sequence[str]:
    """The providers that the broker knows; it lists them to a client that proves itself, and to nobody else."""
    if not client.client_secret:
        return []
    with suppress(BrokerError):
        at.broker.sign_in(client)
        return [str(one["name"]) for one in at.broker.call("GET", "/v1/providers")["items"]]
    return []


def _wait(
    at: Headless, client: Registration, invitation: Invitation, provider: str, no_browser: bool, as_json: bool
) -> dict[str, Any]:
    if as_json:
        print_json_line(
            {
                "user_code": invitation.user_code,
                "verification_uri": invitation.verification_uri,
                "verification_uri_complete": invitation.verification_uri_complete,
                "expires_in": invitation.expires_in,
            }
        )
        return Waiting(at.broker, client).wait(invitation, lambda *_: None)
    show(invitation, provider)
    if not no_browser:
        open_browser(invitation)
    with waiting() as tell:
        return Waiting(at.broker, client).wait(invitation, tell)


def _logged_in(at: Headless, client: Registration, provider: str, body: Mapping[str, Any]) -> Login:
    """Keep the login before anything else is asked: its code is spent."""
    now = time.time()
    tokens = tokens_of(body, now)
    made = Login(
        url=at.broker.url,
        provider=provider,
        connection_id=str(body.get("connection_id", "")),
        client_id=client.client_id,
        confidential=bool(client.client_secret),
        scope=str(body.get("scope", "")),
        logged_in_at=now,
    )
    try:
        at.credentials.keep(made, tokens)
    except BrokerError:
        with suppress(BrokerError):
            # What nobody can use must not live on.
            at.broker.oauth("/oauth/revoke", {"token": tokens.refresh_token}, client)
        raise
    return made


def _describe(at: Headless, made: Login) -> tuple[dict[str, Any], list[str]]:
    """What the broker knows about the login, and what can be done with it; it is good without that, too."""
    connection: Mapping[str, Any] = {}
    provider: Mapping[str, Any] = {}
    try:
        provider = at.machine.provider(made)
        connection = at.machine.connection(made)
    except BrokerError as error:
        note(f"logged in; the broker doesn't say as whom: {error.detail}")
    account = connection.get("account") or {}
    git = provider.get("git") or {"hosts": [], "username": ""}
    at.credentials.update(
        made,
        account=account.get("name") or account.get("id") or "",
        git_hosts=tuple(git["hosts"]),
        git_username=git["username"],
    )
    described = {
        "provider": made.provider,
        "connection_id": made.connection_id,
        "account": account or None,
        "scopes": connection.get("scopes", []),
        "broker": made.url,
        "logged_in_at": rfc3339(int(made.logged_in_at * 1000)),
    }
    steps = [f"broker token {made.provider}"]
    if provider.get("env"):
        steps.append(f"broker exec {made.provider} -- COMMAND")
    steps += [f"git config --global credential.https://{host}.helper '!broker git-credential'" for host in git["hosts"]]
    return described, steps


def _print(login: Mapping[str, Any], steps: Sequence[str]) -> None:
    account = login["account"] or {}
    print_fields(
        {
            "logged in as": account.get("name") or account.get("id"),
            "provider": login["provider"],
            "connection": login["connection_id"],
            "scopes": " ".join(login["scopes"]),
            "broker": login["broker"],
        }
    )
    note("")
    note("What next:")
    for step in steps:
        note(f"  {step}")

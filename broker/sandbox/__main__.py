"""``python -m broker.sandbox``: read the arguments, listen, say where, serve until told to end."""

import argparse
import json
import signal
import socket
import sys
from dataclasses import replace
from types import FrameType

import uvicorn

from broker.sandbox.app import create_app
from broker.sandbox.behaviour import (
    Behaviour,
    Fault,
    FaultWhen,
    RefreshTokenForm,
    RevocationEnds,
    Rotation,
    SettingError,
)
from broker.sandbox.clients import Client, is_loopback
from broker.sandbox.provider import Provider

_BEHAVIOUR_FLAGS = (
    "rotation",
    "access_token_ttl",
    "grace",
    "code_ttl",
    "auto_consent",
    "device_grant",
    "device_code_ttl",
    "device_interval",
    "refresh_token_expires_in",
    "idle_expiry",
    "revocation_ends",
    "token_delay_ms",
    "token_fault",
    "api_fault",
    "fault_when",
    "faults_left",
    "retry_after",
    "refresh_token_form",
)
_BACKLOG = 2048
_PATIENCE = 5
"""Seconds that running requests get to finish when the process is told to end."""


class _AnnouncingServer(uvicorn.Server):
    """Prints where it listens as one JSON line, once it does: whoever started it waits for that line."""

    def __init__(self, config: uvicorn.Config, provider: Provider) -> None:
        super().__init__(config)
        self._provider = provider
        provider.hang_up = self.hang_up

    def hang_up(self, client: tuple[str, int]) -> None:
        """Close the connection that comes from ``client``, with nothing more said on it."""
        for connection in self.server_state.connections:
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        base_url = self._provider.issuer
        print(json.dumps({"base_url": base_url, "issuer": base_url}), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # What is held would be waited for, and nobody can let it go any more.
        self._provider.change(replace(self._provider.behaviour, hold_token_requests=False, hold_token_answers=False))
        await super().shutdown(sockets)


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to end. Exits 0 then, 2 for wrong arguments, 1 if the port can't be had."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again after its own orderly end; this turns that into a clean exit.
        signal.signal(number, _exit)
    parser = _parser()
    options = parser.parse_args(arguments)
    if not is_loopback(options.host):
        parser.error("--host: the practice provider listens on loopback only (127.0.0.1, ::1, localhost)")
    try:
        behaviour = Behaviour().changed({name: getattr(options, name) for name in _BEHAVIOUR_FLAGS})
    except SettingError as error:
        parser.error(str(error))
    client = Client(options.client_id, options.client_secret, tuple(options.redirect_uri))
    _serve(options.host, options.port, client, behaviour)


def _serve(host: str, port: int, client: Client, behaviour: Behaviour) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        sys.exit(f"can't listen on {host} port {port}: {error}")
    with listening:
        name = f"[{host}]" if family == socket.AF_INET6 else host
        base_url = f"http://{name}:{listening.getsockname()[1]}"
        provider = Provider(issuer=base_url, clients=[client], behaviour=behaviour)
        config = uvicorn.Config(
            create_app(provider),
            lifespan="off",
            ws="none",
            access_log=False,  # authorization codes and states travel in URLs
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_PATIENCE,
        )
        _AnnouncingServer(config, provider).run(sockets=[listening])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m broker.sandbox",
        description="A practice provider: a small OAuth 2.0 authorization server on loopback.",
        epilog="Besides OAuth it takes keys, passwords, signatures and service accounts: docs/credentials.md has "
        "entries for providers.yaml, and what to hand in.",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    defaults = Behaviour()
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--rotation", choices=[str(mode) for mode in Rotation], default=str(defaults.rotation))
    parser.add_argument("--access-token-ttl", type=int, default=defaults.access_token_ttl, help="seconds")
    parser.add_argument("--grace", type=int, default=defaults.grace, help="seconds, for --rotation grace")
    parser.add_argument("--code-ttl", type=int, default=defaults.code_ttl, help="seconds")
    parser.add_argument("--refresh-token-expires-in", type=int, help="seconds, anew from each refresh; else never")
    parser.add_argument("--idle-expiry", type=int, help="seconds a refresh token may go unused; else for ever")
    ends = [str(each) for each in RevocationEnds]
    parser.add_argument("--revocation-ends", choices=ends, default=str(defaults.revocation_ends), help="at /revoke")
    _add_fault_flags(parser, defaults)
    parser.add_argument("--client-id", default="practice-client", help="the registered app")
    parser.add_argument("--client-secret", default="practice-secret", help="its secret")
    parser.add_argument(
        "--redirect-uri",
        action="append",
        default=[],
        help="registered return address; none = any on loopback",
    )
    parser.add_argument("--auto-consent", action="store_true", help="allow at once, without the page")
    parser.add_argument("--without-device-grant", dest="device_grant", action="store_false", help="no RFC 8628")
    parser.add_argument("--device-code-ttl", type=int, default=defaults.device_code_ttl, help="seconds")
    parser.add_argument("--device-interval", type=int, default=defaults.device_interval, help="seconds between polls")
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Says a default where there is one to say: not of a switch, and not that a value is left out."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.nargs == 0 or action.default in (None, []) else super()._get_help_string(action)


def _add_fault_flags(parser: argparse.ArgumentParser, defaults: Behaviour) -> None:
    faults = [str(fault) for fault in Fault]
    whens, forms = [str(when) for when in FaultWhen], [str(form) for form in RefreshTokenForm]
    parser.add_argument("--token-delay-ms", type=int, default=defaults.token_delay_ms, help="after the work")
    parser.add_argument("--token-fault", choices=faults, default=str(defaults.token_fault), help="at /token")
    parser.add_argument("--api-fault", choices=faults, default=str(defaults.api_fault), help="at /whoami and /api")
    parser.add_argument("--fault-when", choices=whens, default=str(defaults.fault_when), help="the work of /token")
    parser.add_argument("--faults-left", type=int, help="how many requests are hit; else all")
    parser.add_argument("--retry-after", type=int, help="seconds, for status_503 and busy; else not said")
    parser.add_argument("--refresh-token-form", choices=forms, default=str(defaults.refresh_token_form))


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()

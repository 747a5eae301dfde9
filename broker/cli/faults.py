"""What is said when a command goes wrong: one line per fault on stderr, never a traceback, and an exit code.

====  ===================================================================
1     the broker says no: not found, refused, a failed check
2     the command line or the configuration is at fault
3     the store, the provider or the broker can't be reached now
4     this machine isn't logged in, or its login has ended: log in (again)
5     the login was declined, or its time ran out
130   interrupted (Ctrl-C)
====  ===================================================================

``broker exec`` ends as its command does; where that can't be started, like a shell: 126 or 127.
"""

from typing import Final

from broker.cli.output import note
from broker.errors import (
    BrokerError,
    BrokerUnreachable,
    ConfigurationError,
    InvalidCredentials,
    InvalidRequest,
    ProviderUnavailable,
    StoreUnavailable,
)

EXIT_REFUSED: Final = 1
EXIT_CONFIGURATION: Final = 2
EXIT_UNAVAILABLE: Final = 3
EXIT_NOT_LOGGED_IN: Final = 4
EXIT_LOGIN_FAILED: Final = 5
EXIT_CODES: Final = (
    "Exit codes: 1 refused or not found; 2 usage or configuration; 3 store, provider or broker unreachable; "
    "4 not logged in, or the login has ended: log in (again); 5 the login was declined or its time ran out; "
    "130 interrupted."
)
"""The same, for ``--help``."""


class NotLoggedIn(BrokerError):
    """This machine has no login that would do, or the one that it had has ended."""


class LoginFailed(BrokerError):
    """The person said no, or said nothing for too long."""


def complain(error: BrokerError) -> int:
    """Say on stderr what is wrong, and answer the exit code."""
    match error:
        case ConfigurationError():
            lines = list(error.faults)
        case InvalidRequest() | InvalidCredentials():
            lines = [error.detail, *(f"  {fault.field}: {fault.message}" for fault in error.faults)]
        case _:
            lines = [error.detail]
    for line in lines:
        note(line)
    return _exit_code(error)


def _exit_code(error: BrokerError) -> int:
    match error:
        case ConfigurationError() | InvalidRequest():
            return EXIT_CONFIGURATION
        case StoreUnavailable() | ProviderUnavailable() | BrokerUnreachable():
            return EXIT_UNAVAILABLE
        case NotLoggedIn():
            return EXIT_NOT_LOGGED_IN
        case LoginFailed():
            return EXIT_LOGIN_FAILED
        case _:
            return EXIT_REFUSED

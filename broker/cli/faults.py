"""What is said when a command goes wrong: one line per fault on stderr, never a traceback, and an exit code.

====  ===========================================================
1     the broker says no: not found, refused, a failed check
2     the command line or the configuration is at fault
3     the store, the provider or the broker can't be reached now
====  ===========================================================
"""

from typing import Final

from broker.cli.output import note
from broker.errors import (
    BrokerError,
    BrokerUnreachable,
    ConfigurationError,
    InvalidRequest,
    ProviderUnavailable,
    StoreUnavailable,
)

EXIT_REFUSED: Final = 1
EXIT_CONFIGURATION: Final = 2
EXIT_UNAVAILABLE: Final = 3


def complain(error: BrokerError) -> int:
    """Say on stderr what is wrong, and answer the exit code."""
    match error:
        case ConfigurationError():
            lines = list(error.faults)
        case InvalidRequest():
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
        case _:
            return EXIT_REFUSED

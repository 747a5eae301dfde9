"""What a failed refresh means: for the connection, for its health, for the metrics. Pure."""

from broker.errors import (
    AddressRefused,
    BrokerError,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ReauthRequired,
)
from broker.models.connection import Fault


class GrantOver(ReauthRequired):
    """Only the person can bring the connection back.

    Our own verdict, never a provider's word: whatever code a provider sends, it can't be taken for one of the reasons.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """What ``health.last_error`` says."""


def refresh_token_refused(*, outcome_unknown: bool) -> GrantOver:
    """The token endpoint answered ``invalid_grant`` to a refresh token.

    :param outcome_unknown: an earlier refresh of the same token was begun, and nobody knows how it ended.
    """
    if outcome_unknown:
        return GrantOver("refresh_outcome_unknown", "an interrupted refresh may have used the refresh token up")
    return GrantOver("revoked_at_provider", "the provider no longer accepts the refresh token")


def access_token_refused() -> GrantOver:
    """The provider refuses the access token before its time, and nothing can renew it."""
    return GrantOver("revoked_at_provider", "the provider no longer accepts the access token")


def access_token_expired() -> GrantOver:
    """The access token's time is over, and nothing can renew it."""
    return GrantOver("access_token_expired", "the access token expired, and there is no refresh token")


def blameless(error: BrokerError) -> BrokerError:
    """``error`` for a caller who only named a connection: an address that can't be called is no fault of theirs."""
    return ProviderError(error.detail) if isinstance(error, AddressRefused | InvalidRequest) else error


def outcome_of(error: BrokerError) -> str:
    """How metrics name a failed refresh."""
    match error:
        case NotSent():
            return "not_sent"
        case ProviderBusy():
            return "busy"
        case OutcomeUnknown():
            return "unknown"
        case GrantOver():
            return "grant_over"
        case _:
            return "refused"


def fault_of(error: BrokerError, *, at: int) -> Fault:
    """What a connection says of a failed refresh or test.

    :param at: milliseconds since the epoch.
    """
    return Fault(error.reason if isinstance(error, GrantOver) else error.code, error.detail, at)

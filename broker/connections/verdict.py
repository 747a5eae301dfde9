"""What a failed refresh means: for the connection, for its health, for the metrics. Pure."""

from typing import Final

from broker.errors import BrokerError, Conflict, NotSent, OutcomeUnknown, ProviderBusy, ProviderRefused, ReauthRequired
from broker.models.connection import Fault, Status

EXPIRED: Final = "no_refresh_token"
"""Our own reason, beside the provider's codes: the access token's time is over and nothing can renew it."""
ACCESS_TOKEN_REFUSED: Final = "access_token_refused"  # noqa: S105 - a reason
"""Our own reason: the provider refuses the access token before its time, and nothing can renew it."""


def ends_grant(error: BrokerError) -> bool:
    """Whether only the person can bring the connection back."""
    return isinstance(error, ProviderRefused) and error.error in {"invalid_grant", EXPIRED, ACCESS_TOKEN_REFUSED}


def outcome_of(error: BrokerError) -> str:
    """How metrics name a failed refresh."""
    match error:
        case NotSent():
            return "not_sent"
        case ProviderBusy():
            return "busy"
        case OutcomeUnknown():
            return "unknown"
        case ProviderRefused(error=reason) if reason == "invalid_grant":
            return "invalid_grant"
        case _:
            return "refused"


def fault_of(error: BrokerError, *, outcome_unknown: bool, at: int) -> Fault:
    """What a connection says of a failed refresh.

    :param outcome_unknown: an earlier refresh of the same token was begun, and nobody knows how it ended.
    :param at: milliseconds since the epoch.
    """
    match error:
        case ProviderRefused(error="invalid_grant") if outcome_unknown:
            return Fault("refresh_outcome_unknown", "an interrupted refresh may have used the refresh token up", at)
        case ProviderRefused(error="invalid_grant"):
            return Fault("revoked_at_provider", "the provider no longer accepts the refresh token", at)
        case ProviderRefused(error=reason) if reason == ACCESS_TOKEN_REFUSED:
            return Fault("revoked_at_provider", "the provider no longer accepts the access token", at)
        case ProviderRefused(error=reason) if reason == EXPIRED:
            return Fault("access_token_expired", "the access token expired, and there is no refresh token", at)
        case _:
            return Fault(error.code, error.detail, at)


def unusable(status: Status) -> Conflict:
    """Why a connection in this status, which is not ``active``, can't be used."""
    match status:
        case Status.DISABLED:
            return Conflict("the connection is switched off")
        case Status.REVOKED:
            return ReauthRequired("the connection was disconnected")
        case _:
            return ReauthRequired("the connection has to be authorized again")

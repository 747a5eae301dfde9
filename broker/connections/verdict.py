"""What a failed refresh means: for the connection, for its health, for the metrics. Pure."""

from collections.abc import Sequence
from typing import Final

from broker.errors import (
    AddressRefused,
    BrokerError,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ReauthRequired,
    StoreUnavailable,
    UnusableToken,
)
from broker.models.connection import Fault

SPENT_PERHAPS: Final = (OutcomeUnknown, UnusableToken)
"""After these the refresh token may be used up."""

TOLD_TO_WAIT: Final = "provider_busy"
"""What ``health.last_error`` says where the provider has named a time to wait."""

_LONGEST_LIST: Final = 200


class GrantOver(ReauthRequired):
    """Only the person can bring the connection back.

    Our own verdict, never a provider's word: whatever code a provider sends, it can't be taken for one of the reasons.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """What ``health.last_error`` says."""


def refresh_token_refused(*, outcome_unknown: bool, expired: bool) -> GrantOver:
    """The token endpoint answered ``invalid_grant`` to every refresh token that there is.

    :param outcome_unknown: an earlier refresh of the same token was begun, and nobody knows how it ended.
    :param expired: the provider had named an end for the refresh token, and that is over.
    """
    if expired:
        return GrantOver("refresh_token_expired", "the refresh token's time, as the provider had named it, is over")
    if outcome_unknown:
        return GrantOver("refresh_outcome_unknown", "an interrupted refresh may have used the refresh token up")
    return GrantOver("revoked_at_provider", "the provider no longer accepts the refresh token")


def grants_crossed() -> GrantOver:
    """A token that came late was stored, and the provider had ended its grant because of a second request."""
    return GrantOver("refresh_outcome_unknown", "two refreshes crossed, and the provider ended the grant")


def scopes_lost(scopes: Sequence[str]) -> GrantOver:
    """The provider no longer grants these scopes."""
    return GrantOver("scope_lost", "the provider no longer grants: " + " ".join(scopes)[:_LONGEST_LIST])


def scopes_gone(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether nothing is left of what a connection was allowed to do."""
    return bool(before) and not set(before) & set(after)


def access_token_refused(refusal: BrokerError) -> GrantOver:
    """The provider refuses what it was asked about, with ``refusal``, and nothing can renew it."""
    return GrantOver("revoked_at_provider", refusal.detail)


def credential_refused() -> GrantOver:
    """The provider issues no more tokens for what was handed in."""
    return GrantOver("revoked_at_provider", "the provider no longer accepts the credential")


def access_token_expired() -> GrantOver:
    """The access token's time is over, and nothing can renew it."""
    return GrantOver("access_token_expired", "the access token expired, and there is no refresh token")


def outcome_unknown() -> OutcomeUnknown:
    """Whether the provider took an earlier request is unknown, and asking again could end the grant."""
    return OutcomeUnknown("the outcome of an earlier refresh is unknown", retry_after=5)


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
        case StoreUnavailable():
            return "store"
        case _:
            return "refused"


def fault_of(error: BrokerError, *, at: int) -> Fault:
    """What a connection says of a failed refresh or test.

    :param at: milliseconds since the epoch.
    """
    match error:
        case GrantOver():
            code = error.reason
        case ProviderBusy(retry_after=int()):
            code = TOLD_TO_WAIT
        case _:
            code = error.code
    return Fault(code, error.detail, at)

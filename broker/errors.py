"""The one error tree. Each error knows its code, its HTTP status and a text that is safe to show.

::

    BrokerError
    ├── RequestError                 the caller can mend it
    │   ├── InvalidRequest           400 invalid_request, with the fields at fault
    │   ├── Unauthenticated          401 unauthenticated
    │   │   └── InvalidToken         ... with a broker token that is none that is valid
    │   ├── Forbidden                403 forbidden
    │   │   ├── SubjectMismatch      403 subject_mismatch
    │   │   └── InsufficientScope    403 insufficient_scope
    │   ├── NotFound                 404 not_found
    │   ├── Conflict                 409 conflict
    │   │   ├── ReauthRequired       409 reauth_required
    │   │   └── MissingProviderScopes 409 missing_provider_scopes
    │   ├── PayloadTooLarge          413 payload_too_large
    │   ├── UnsupportedMediaType     415 unsupported_media_type
    │   ├── InvalidCredentials       422 invalid_credentials
    │   ├── RateLimited              429 rate_limited
    │   └── OAuthError               400/401, an RFC 6749 error code for the /oauth face
    ├── ProviderError                502 provider_error: the provider answered, and it was no
    │   ├── ProviderRefused          ... with an OAuth error code of its own
    │   └── UnusableToken            ... it issued a token that can't be served; what was sent for it is spent
    ├── ProviderUnavailable          503 provider_unavailable
    │   ├── NotConfigured            the providers file lacks an entry that a connection needs
    │   ├── NotSent                  nothing reached the provider (DNS, connect, TLS)
    │   ├── OutcomeUnknown           sent, but no readable answer came back
    │   └── ProviderBusy             the provider asked for patience (429, or 503 with Retry-After)
    │       └── ProviderPaused       ... and is not asked before that, by nobody
    ├── AddressRefused               400 invalid_request: the egress guard refused an address
    ├── StoreUnavailable             503 store_unavailable
    │   └── SealBroken               ... a stored secret that can't be opened; the record is kept
    ├── BrokerUnreachable            a command that talks to a running broker finds none
    └── ConfigurationError           at start: every fault at once, naming keys, never values

A message never holds a secret: whoever raises an error writes a text about *what* is wrong, not with which value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Self

_MENDED_WITHIN: Final = 60
"""Seconds after which a caller may look again whether the operator has put the file right."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field of a request that is wrong, and how."""

    field: str
    message: str


class BrokerError(Exception):
    """Anything the broker says no with. ``detail`` is shown to callers as it is."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    because: str | None = None
    """Why, for the log alone, where callers are all told the same, or are told values of what they presented: here
    there are none."""

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds after which trying again makes sense, where that is known."""


class RequestError(BrokerError):
    """The caller can mend it."""


class InvalidRequest(RequestError):
    """The request itself is malformed; ``faults`` names the fields."""

    code = "invalid_request"
    status = 400

    def __init__(self, detail: str, faults: Sequence[FieldFault] = ()) -> None:
        super().__init__(detail)
        self.faults = tuple(faults)


class Unauthenticated(RequestError):
    """No broker token, or none that is valid."""

    code = "unauthenticated"
    status = 401

    def __init__(self, detail: str, *, because: str | None = None) -> None:
        super().__init__(detail)
        self.because = because


class InvalidToken(Unauthenticated):
    """A broker token was presented, and it is malformed, unknown, over or revoked (RFC 6750 §3.1)."""


class Forbidden(RequestError):
    """The caller is known and may not do this."""

    code = "forbidden"
    status = 403


class SubjectMismatch(Forbidden):
    """The subject who completes is not the subject the session was opened for."""

    code = "subject_mismatch"


class InsufficientScope(Forbidden):
    """The broker token lacks the client scope that the route asks for (RFC 6750 §3.1)."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"this call needs the scope {scope!r}")
        self.scope = scope


class NotFound(RequestError):
    """No such thing, or not for this tenant or client: both answer the same."""

    code = "not_found"
    status = 404


class Conflict(RequestError):
    """The thing exists but its state does not allow this now."""

    code = "conflict"
    status = 409


class ReauthRequired(Conflict):
    """The connection's grant is gone; only the person can bring it back."""

    code = "reauth_required"


class MissingProviderScopes(Conflict):
    """The person granted less than what this needs; ``missing`` names the provider scopes."""

    code = "missing_provider_scopes"
    because = "the connection lacks provider scopes"

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("the connection lacks provider scopes: " + " ".join(missing))
        self.missing = tuple(missing)


class PayloadTooLarge(RequestError):
    """The body is larger than the route accepts."""

    code = "payload_too_large"
    status = 413


class UnsupportedMediaType(RequestError):
    """The body's content type is not the one the route reads."""

    code = "unsupported_media_type"
    status = 415


class InvalidCredentials(RequestError):
    """The credentials that were handed in are not what the provider takes, and nothing of them was stored.

    ``step``: how far they came. ``format``: they don't look like it, and nobody was asked. ``live_test``: the provider
    refused them. ``permissions``: they work, and may do less than is needed.
    """

    code = "invalid_credentials"
    status = 422

    def __init__(
        self,
        step: Literal["format", "live_test", "permissions"],
        detail: str,
        faults: Sequence[FieldFault] = (),
        *,
        provider_status: int | None = None,
        missing: Sequence[str] = (),
    ) -> None:
        """:param provider_status: the HTTP status of the provider's answer.
        :param missing: the provider scopes that were not granted."""
        super().__init__(detail)
        self.step = step
        self.faults = tuple(faults)
        self.provider_status = provider_status
        self.missing = tuple(missing)

    @classmethod
    def malformed(cls, faults: Sequence[FieldFault]) -> Self:
        """They don't look like what the provider takes; ``faults`` names the fields."""
        names = ", ".join(fault.field for fault in faults)
        return cls("format", f"the credentials are not what the provider takes: {names}", faults)


class RateLimited(RequestError):
    """Too many failures, or too many unauthenticated calls, from one address; or too many failures naming one client.

    ``retry_after`` says when the window ends. A right credential is never refused for it."""

    code = "rate_limited"
    status = 429


class OAuthError(RequestError):
    """An RFC 6749 §5.2 answer of the /oauth face: ``error`` is the protocol's own code."""

    def __init__(
        self, error: str, detail: str, *, status_code: int = 400, code: str | None = None, because: str | None = None
    ) -> None:
        super().__init__(detail)
        self.because = because
        self.error = error
        self.status_code = status_code
        self.broker_code = code
        """The /v1 code of the same condition, where there is one (``reauth_required``)."""


class ProviderError(BrokerError):
    """The provider answered, and the answer was no or made no sense."""

    code = "provider_error"
    status = 502
    http_status: int | None = None
    """Of the provider's answer, where it matters."""


class ProviderRefused(ProviderError):
    """The provider refused with an OAuth error code (RFC 6749 §5.2) or its own equivalent."""

    def __init__(self, error: str, detail: str, *, http_status: int) -> None:
        super().__init__(detail)
        self.error = error
        self.http_status = http_status


class UnusableToken(ProviderError):
    """The provider issued a token that can't be served. What was sent for it is spent, as after any success."""

    refresh_token: str | None = None
    """What came beside it: perhaps the only one that works from now on."""


class ProviderUnavailable(BrokerError):
    """The provider can't be reached or can't answer now."""

    code = "provider_unavailable"
    status = 503


class NotConfigured(ProviderUnavailable):
    """This broker's providers file has no entry for a connection's provider; another replica's, or the next one, may.

    The connection is there, and as it was: whoever heard that there is none might forget it.
    """

    def __init__(self) -> None:
        super().__init__(
            "the providers file of this broker has no entry for this connection's provider", retry_after=_MENDED_WITHIN
        )


class NotSent(ProviderUnavailable):
    """Nothing of the request reached the provider, so trying again is safe."""


class OutcomeUnknown(ProviderUnavailable):
    """The request was sent, and no readable answer came back: it may or may not have had its effect."""

    refresh_token: str | None = None
    """What stood in the answer all the same: perhaps the only one that works from now on."""


class ProviderBusy(ProviderUnavailable):
    """The provider asked for patience and did not process the request."""


class ProviderPaused(ProviderBusy):
    """The broker itself holds back: the provider asked for patience, fails, or has as much to do as it may. Nothing
    was sent."""


class AddressRefused(RequestError):
    """The egress guard refuses an address that a user or a discovery document supplied."""

    code = "invalid_request"
    status = 400


class StoreUnavailable(BrokerError):
    """The store can't be reached, is too slow, or refuses to serve."""

    code = "store_unavailable"
    status = 503

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, retry_after=retry_after)


class SealBroken(StoreUnavailable):
    """A stored secret fails authentication or names a key that the ring lacks. The record is kept as it is."""


class BrokerUnreachable(BrokerError):
    """A command that talks to a running broker finds none that can serve it."""


class ConfigurationError(BrokerError):
    """The configuration can't be used; ``faults`` holds all of them, each naming a key and never a value."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)

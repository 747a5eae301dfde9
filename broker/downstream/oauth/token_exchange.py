"""Token exchange (RFC 8693): a reference goes in, the provider's access token comes out.

A machine that is logged in has no reference; it brings its own broker token, which is bound to one connection as well.
"""

from dataclasses import dataclass
from typing import Final

from broker.access.authentication import Authenticator
from broker.access.policy import permit
from broker.access.references import parse_reference
from broker.connections.tokens import Tokens
from broker.downstream.oauth.answers import ExchangedAnswer
from broker.downstream.oauth.endpoint import OAuthCall
from broker.downstream.oauth.forms import TokenExchangeForm
from broker.errors import (
    Conflict,
    Forbidden,
    InvalidToken,
    MissingProviderScopes,
    NotFound,
    OAuthError,
    ReauthRequired,
)
from broker.models.access import Reach
from broker.models.event import Event
from broker.observe import metrics
from broker.vault.release import Release

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
REFERENCE: Final = "urn:broker:token-type:reference"
_MIN_TTL_AT_MOST: Final = 86_400
_FETCHES: Final = frozenset({"tokens:read", "references:redeem"})
"""Either entitles a machine to its token: the exchange is how a reference is redeemed, and it has the token itself."""
_UNKNOWN: Final = "the reference is unknown, expired, spent or made for another client"
_UNKNOWN_TOKEN: Final = "the broker token is unknown, expired, another client's or bound to no connection"  # noqa: S105


@dataclass(frozen=True, slots=True)
class _Entitled:
    """Which connection's token is to be released, and by what."""

    connection_id: str
    reach: Reach
    event: str
    reference_digest: str | None = None


class TokenExchangeGrant:
    """Redeems references, and machines' own tokens."""

    form = TokenExchangeForm
    answer = ExchangedAnswer
    public = True
    from_memory = True

    def __init__(self, tokens: Tokens, authenticator: Authenticator) -> None:
        self._tokens = tokens
        self._authenticator = authenticator

    async def __call__(self, call: OAuthCall) -> ExchangedAnswer:
        """The access token of the connection that the subject token leads to.

        :raises OAuthError: ``invalid_request`` for one that does not entitle this client, whatever the reason
            (RFC 8693 §2.2.2), and for a connection that can't be used; ``invalid_target`` for a named target.
        """
        subject_token, is_reference = _subject_token(call)
        entitled = await (self._by_reference if is_reference else self._by_own_token)(call, subject_token)
        try:
            release = await self._tokens.fetch(
                entitled.connection_id,
                reach=entitled.reach,
                event=Event(
                    type=entitled.event,
                    tenant=call.client.tenant,
                    at=call.now,
                    connection_id=entitled.connection_id,
                    client_id=call.client.client_id,
                    request_id=call.request_id,
                ),
                min_ttl=_min_ttl(call),
                reference_digest=entitled.reference_digest,
            )
        except NotFound:
            # The same words as for a reference that is unknown: what it leads to is nobody's business.
            raise OAuthError("invalid_request", _UNKNOWN) from None
        except (ReauthRequired, MissingProviderScopes, Conflict, Forbidden) as error:
            raise OAuthError("invalid_request", error.detail, code=error.code, because=error.because) from None
        metrics.released(release.provider)
        return _answer(release)

    async def _by_reference(self, call: OAuthCall, reference: str) -> _Entitled:
        caller = call.caller
        permit(caller, "references:redeem")
        handle = parse_reference(reference)
        if handle is None:
            raise OAuthError("invalid_request", "the subject_token is not a reference")
        return _Entitled(handle.connection_id, caller.reach, "reference.redeemed", handle.digest)

    async def _by_own_token(self, call: OAuthCall, token: str) -> _Entitled:
        """By a broker token that is bound to one connection: of this client, and good for fetching tokens."""
        try:
            bearer = await self._authenticator.bearer(token, call.address)
        except InvalidToken:
            raise OAuthError("invalid_request", _UNKNOWN_TOKEN) from None
        connection_id = bearer.reach.connection_id
        if bearer.client_id != call.client.client_id or connection_id is None:
            raise OAuthError("invalid_request", _UNKNOWN_TOKEN)
        if not bearer.scopes & _FETCHES:
            raise OAuthError(
                "invalid_request", "the broker token lacks the scope tokens:read", code="insufficient_scope"
            )
        return _Entitled(connection_id, bearer.reach, "token.released")


def _subject_token(call: OAuthCall) -> tuple[str, bool]:
    """The subject token, and whether it is a reference."""
    subject_token, kind = call.required("subject_token"), call.required("subject_token_type")
    if kind not in {REFERENCE, ACCESS_TOKEN}:
        raise OAuthError("invalid_request", f"subject_token_type must be {REFERENCE}, or {ACCESS_TOKEN} for a machine")
    if call.parameters.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        raise OAuthError("invalid_request", f"requested_token_type can only be {ACCESS_TOKEN}")
    if "actor_token" in call.parameters:
        raise OAuthError("invalid_request", "actor_token is not supported")
    if "resource" in call.parameters or "audience" in call.parameters:
        # It leads to one connection; a target that is named could only contradict it.
        raise OAuthError("invalid_target", "the subject_token itself says whose token it stands for")
    return subject_token, kind == REFERENCE


def _min_ttl(call: OAuthCall) -> int:
    text = call.parameters.get("min_ttl", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= _MIN_TTL_AT_MOST):
        raise OAuthError("invalid_request", f"min_ttl is a number of seconds up to {_MIN_TTL_AT_MOST}")
    return int(text)


def _answer(release: Release) -> ExchangedAnswer:
    return ExchangedAnswer(
        access_token=release.access_token,
        issued_token_type=ACCESS_TOKEN,
        token_type=release.token_type,
        scope=" ".join(release.scopes),
        connection_id=release.connection_id,
        expires_in=release.expires_in,
    )

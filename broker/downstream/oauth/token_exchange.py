"""Token exchange (RFC 8693): a reference goes in, the provider's access token comes out."""

from typing import Final

from broker.access.policy import permit
from broker.access.references import parse_reference
from broker.connections.tokens import Tokens
from broker.downstream.oauth.answers import ExchangedAnswer
from broker.downstream.oauth.endpoint import OAuthCall
from broker.downstream.oauth.forms import TokenExchangeForm
from broker.errors import Conflict, Forbidden, MissingProviderScopes, NotFound, OAuthError, ReauthRequired
from broker.models.event import Event
from broker.observe import metrics
from broker.vault.release import Release

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
REFERENCE: Final = "urn:broker:token-type:reference"
_MIN_TTL_AT_MOST: Final = 86_400


class TokenExchangeGrant:
    """Redeems references."""

    form = TokenExchangeForm
    answer = ExchangedAnswer

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def __call__(self, call: OAuthCall) -> ExchangedAnswer:
        """The access token of the connection that the reference leads to.

        :raises OAuthError: ``invalid_request`` for a reference that does not entitle this client, whatever the reason
            (RFC 8693 §2.2.2), and for a connection that can't be used; ``invalid_target`` for a named target.
        """
        permit(call.caller, "references:redeem")
        handle = parse_reference(self._subject_token(call))
        if handle is None:
            raise OAuthError("invalid_request", "the subject_token is not a reference")
        try:
            release = await self._tokens.fetch(
                handle.connection_id,
                reach=call.client.reach,
                event=Event(
                    type="reference.redeemed",
                    tenant=call.client.tenant,
                    at=call.now,
                    connection_id=handle.connection_id,
                    client_id=call.client.client_id,
                    request_id=call.request_id,
                ),
                min_ttl=_min_ttl(call),
                reference_digest=handle.digest,
            )
        except NotFound:
            # The same words as for a reference that is unknown: what it leads to is nobody's business.
            raise OAuthError(
                "invalid_request", "the reference is unknown, expired, spent or made for another client"
            ) from None
        except (ReauthRequired, MissingProviderScopes, Conflict, Forbidden) as error:
            raise OAuthError("invalid_request", error.detail, code=error.code) from None
        metrics.tokens_released.labels(release.provider).inc()
        return _answer(release)

    def _subject_token(self, call: OAuthCall) -> str:
        subject_token = call.required("subject_token")
        if call.required("subject_token_type") != REFERENCE:
            raise OAuthError("invalid_request", f"subject_token_type must be {REFERENCE}")
        if call.parameters.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
            raise OAuthError("invalid_request", f"requested_token_type can only be {ACCESS_TOKEN}")
        if "actor_token" in call.parameters:
            raise OAuthError("invalid_request", "actor_token is not supported")
        if "resource" in call.parameters or "audience" in call.parameters:
            # The reference leads to one connection; a target that is named could only contradict it.
            raise OAuthError("invalid_target", "the reference itself says whose token it stands for")
        return subject_token


def _min_ttl(call: OAuthCall) -> int:
    text = call.parameters.get("min_ttl", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= _MIN_TTL_AT_MOST):
        raise OAuthError("invalid_request", f"min_ttl is a number of seconds up to {_MIN_TTL_AT_MOST}")
    return int(text)


def _answer(release: Release) -> ExchangedAnswer:
    return ExchangedAnswer(
        access_token=release.access_token,
        issued_token_type=ACCESS_TOKEN,
        token_type="Bearer",  # noqa: S106 - the name of a type
        scope=" ".join(release.scopes),
        connection_id=release.connection_id,
        expires_in=release.expires_in,
    )

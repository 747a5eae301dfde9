"""OAuth tokens that somebody else obtained, taken over: read, and refreshed first where the access token is over.

A refresh may use up the refresh token that was handed in. From then on the new pair is all there is, so it is kept
whatever is found out about it afterwards: see :attr:`Imported.spent`. Who must not use it up says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from broker.clock import Clock, moment_of
from broker.connections.authorization import Wanted
from broker.connections.credential_format import read_fields
from broker.errors import FieldFault, InvalidCredentials, ProviderRefused
from broker.upstream.facade import Upstream
from broker.upstream.token_response import TokenSet

_MARGIN: Final = 30_000
"""Milliseconds: a token that ends so soon is treated as over."""
_LONGEST: Final = 10 * 365 * 86_400
"""Seconds that an access token lives at most, as in answers of providers."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was taken over."""

    tokens: TokenSet
    spent: bool
    """Whether the provider has issued these in exchange for what was handed in: then they mustn't be lost, and there is
    no need to ask whether they work."""
    over: bool = False
    """Whether there is no access token that lives, so that nobody can be asked before a refresh."""


class Importing:
    """Takes over tokens that belong to the entry's own OAuth app."""

    def __init__(self, upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock

    async def take(self, wanted: Wanted, credentials: Mapping[str, Any], *, spend: bool = True) -> Imported:
        """The tokens in ``credentials``; what they were granted for is believed, as in an answer of the provider.

        With a refresh token and without an access token that lives, the provider is asked for new ones at once, unless
        it is to be stored unasked.

        :param spend: whether a refresh token may be used up for that; if not, they are taken over as they are.
        :raises InvalidCredentials: they are malformed (``format``), over, or refused (``live_test``).
        :raises ProviderError, ProviderUnavailable: the provider was asked, and no new ones came.
        """
        tokens = read_tokens(wanted, credentials, now=self._clock())
        over = tokens.expires_in is not None and tokens.expires_in * 1000 <= _MARGIN
        if tokens.access_token and not over:
            return Imported(tokens, spent=False)
        if tokens.refresh_token is None and (wanted.validate or not spend):
            raise InvalidCredentials("live_test", "the access token is over, and there is no refresh token to renew it")
        if not wanted.validate or not spend:
            # Nobody is asked now; whoever fetches it first will see.
            return Imported(replace(tokens, expires_in=0), spent=False, over=True)
        try:
            issued = await self._upstream.refresh(
                wanted.provider,
                wanted.parameters,
                refresh_token=tokens.refresh_token or "",
                scopes=tokens.scopes,
                secrets=[tokens.access_token] if tokens.access_token else [],
            )
        except ProviderRefused as error:
            raise InvalidCredentials(
                "live_test",
                f"{error.detail}. The refresh token has to be one of this app's, and not yet used up.",
                provider_status=error.http_status,
            ) from None
        return Imported(replace(issued, refresh_token=issued.refresh_token or tokens.refresh_token), spent=True)


def read_tokens(wanted: Wanted, credentials: Mapping[str, Any], *, now: int) -> TokenSet:
    """What was handed in, as if the provider had just answered it. Pure.

    The access token is empty where there is none; a time to live of 0 or less: it is over.

    :param now: milliseconds since the epoch.
    :raises InvalidCredentials: naming each field that is malformed.
    """
    scope = credentials.get("scope")
    if isinstance(scope, list) and all(isinstance(each, str) for each in scope):
        credentials = {**credentials, "scope": wanted.provider.scope_separator.join(scope)}
    fields = read_fields(wanted.provider, credentials, patterns=wanted.validate)
    if not fields.keys() & {"access_token", "refresh_token"}:
        raise _fault("access_token", "required, unless there is a refresh_token")
    expires_in = None
    if "expires_at" in fields:
        end = moment_of(fields["expires_at"])
        if end is None:
            raise _fault("expires_at", "must be a time (RFC 3339, or seconds or milliseconds since 1970)")
        # Rounded down: rather over too early than too late.
        expires_in = min((end - now) // 1000, _LONGEST)
    separators = fields.get("scope", "").replace(wanted.provider.scope_separator, " ").replace(",", " ")
    return TokenSet(
        access_token=fields.get("access_token", ""),
        refresh_token=fields.get("refresh_token"),
        expires_in=expires_in,
        scopes=tuple(dict.fromkeys(separators.split())) or tuple(wanted.requested_scopes),
        asked_at=now,
    )


def _fault(field: str, message: str) -> InvalidCredentials:
    return InvalidCredentials.malformed([FieldFault(f"credentials.{field}", message)])

"""From what a request carries to who calls: by a client's secret, by a signed assertion, by a broker token."""

import asyncio
import hmac
from dataclasses import dataclass
from typing import Final

from broker.access.assertions import Assertions
from broker.access.clients import SECRETS_AT_MOST, Clients
from broker.access.jws import NotProvenError
from broker.access.limits import Limits
from broker.access.tokens import BrokerTokens
from broker.clock import Clock
from broker.errors import InvalidToken, ProviderUnavailable, StoreUnavailable, Unauthenticated
from broker.models.access import Caller, Client
from broker.models.ids import digest

REVALIDATED_EVERY: Final = 1.5
"""Seconds between two looks at whether the broker tokens in use are still good."""

_TRUSTED_FOR: Final = 5_000
_NOBODYS: Final = (digest("nobody's secret"),) * SECRETS_AT_MOST
_REFUSED: Final = "client authentication failed"


@dataclass(slots=True)
class _Known:
    caller: Caller
    expires_at: int
    trusted_until: int
    used: bool = True


class Authenticator:
    """Tells who calls. Broker tokens in use are remembered, and looked at again every moment."""

    def __init__(
        self, limits: Limits, clients: Clients, assertions: Assertions, tokens: BrokerTokens, clock: Clock
    ) -> None:
        self._limits = limits
        self._clients = clients
        self._assertions = assertions
        self._tokens = tokens
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def client(self, client_id: str, secret: str, address: str) -> Client:
        """The client with this secret. An unknown client and a wrong secret are told apart by nothing.

        :raises Unauthenticated: no such client, or not its secret.
        :raises RateLimited: too many failures from ``address``, or of this client, within a minute.
        """
        client = await self._clients.read(client_id)
        registered = _secrets_of(client, self._clock()) if client else ()
        presented = digest(secret)
        # Somebody's secrets are compared, and nobody's in the place of those that are not there: whether the client is
        # unknown, has no secret or another one, the steps are the same.
        compared = [hmac.compare_digest(presented, known) for known in (*registered, *_NOBODYS[len(registered) :])]
        if client and any(compared[: len(registered)]):
            return client
        await self._limits.failure(address, client_id)
        # What was given in the place of an id may be anything; a client's own is no secret.
        raise Unauthenticated(_REFUSED, because=f"not its secret ({client.client_id})" if client else "no such client")

    async def public(self, client_id: str, address: str) -> Client:
        """The public client of this id: nothing is proven. One that could prove itself is not taken at its word.

        :raises Unauthenticated: there is none, or it has to authenticate.
        :raises RateLimited: too many failures from ``address``, or of this client, within a minute.
        """
        client = await self._clients.read(client_id)
        if client is not None and client.public:
            return client
        await self._limits.failure(address, client_id)
        raise Unauthenticated(_REFUSED, because="no public client")

    async def asserted(self, assertion: str, client_id: str | None, address: str) -> Client:
        """The client that a signed assertion proves. Whatever is wrong with it, the answer is the same.

        :param client_id: whom the request names beside the assertion, if anybody.
        :raises Unauthenticated: it proves nobody, or somebody else.
        :raises ProviderUnavailable: the keys that would prove it can't be had now.
        :raises RateLimited: too many failures from ``address``, or of the client that was named, within a minute; or
            too many whose keys can't be had.
        """
        try:
            return await self._assertions.client(assertion, client_id)
        except ProviderUnavailable:
            await self._limits.unproven(address)
            raise
        except NotProvenError as error:
            reason = f"{error} ({error.client_id or 'of no client'})"
        await self._limits.failure(address, client_id)
        raise Unauthenticated(_REFUSED, because=reason)

    async def bearer(self, token: str, address: str) -> Caller:
        """The caller whose broker token this is.

        :raises InvalidToken: unknown, over or revoked, or its client is gone.
        :raises RateLimited: too many failures from ``address`` within a minute.
        """
        token_digest = digest(token)
        known, now = self._known.get(token_digest), self._clock()
        if known is None or now >= known.trusted_until:
            known = await self._look_up(token_digest)
        if known is None or now >= known.expires_at:
            await self._limits.failure(address)
            raise InvalidToken("the broker token is unknown, expired or revoked")
        known.used = True
        return known.caller

    def ends_at(self, token: str) -> int:
        """When a token that was just accepted ends (ms)."""
        known = self._known.get(digest(token))
        return self._clock() if known is None else known.expires_at

    async def still(self, caller: Caller, token: str, ends_at: int) -> bool:
        """Whether nobody has taken back what ``caller`` came with; that the token has ended meanwhile is no such thing.

        :raises StoreUnavailable: the store can't be asked.
        """
        if self._clock() < ends_at:
            return await self._look_up(digest(token)) is not None
        client = await self._clients.read(caller.client_id)
        return client is not None and client.tenant == caller.tenant

    def forget(self, token: str) -> None:
        """Stop remembering a token that was just revoked here."""
        self._known.pop(digest(token), None)

    async def revalidate(self) -> None:
        """Look again at every token in use since the last look, and forget the others.

        So a request never waits for this, and a revoked token or deleted client is refused within seconds.
        """
        in_use = [token_digest for token_digest, known in self._known.items() if known.used]
        self._known = {token_digest: self._known[token_digest] for token_digest in in_use}
        for token_digest in in_use:
            self._known[token_digest].used = False
        # A store that can't be asked: what is remembered runs out by itself.
        results = await asyncio.gather(*map(self._look_up, in_use), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, StoreUnavailable):
                raise result

    async def _look_up(self, token_digest: str) -> _Known | None:
        asked_at = self._clock()
        grant = await self._tokens.find(token_digest)
        client = await self._clients.read(grant.client_id) if grant else None
        if grant is None or client is None or client.tenant != grant.tenant or not client.honours(grant.tokens_from):
            self._known.pop(token_digest, None)
            return None
        before = self._known.get(token_digest)
        known = _Known(
            caller=Caller(client.client_id, frozenset(grant.scopes) & frozenset(client.scopes), grant.reach(client)),
            expires_at=grant.expires_at,
            trusted_until=asked_at + _TRUSTED_FOR,
            used=before.used if before else True,
        )
        self._known[token_digest] = known
        return known


def _secrets_of(client: Client, now: int) -> tuple[str, ...]:
    """The digests of the secrets that still work at ``now`` (ms)."""
    return tuple(known for known in client.secret_digests if client.secret_ends.get(known, now + 1) > now)

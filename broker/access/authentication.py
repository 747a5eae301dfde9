"""From what a request carries to who calls: by a client's secret, by a signed assertion, by a broker token.

What proved right is remembered while it is in use (:mod:`broker.access.in_use`): a broker token under its digest, a
client under its id with the digest of what it showed: a secret, or its platform's token. A wrong secret never hits this
memory: it takes the same path to the store as an unknown client's. What a client signs itself works once, and is judged
each time.
"""

import asyncio
import hmac
from dataclasses import dataclass
from typing import Final

from broker.access.assertions import Assertions
from broker.access.clients import SECRETS_AT_MOST, Clients
from broker.access.in_use import InUse
from broker.access.jws import NotProvenError
from broker.access.limits import Limits
from broker.access.tokens import BrokerTokens
from broker.clock import Clock
from broker.errors import InvalidToken, ProviderUnavailable, Unauthenticated
from broker.models.access import Caller, Client
from broker.models.ids import digest

_NOBODYS: Final = (digest("nobody's secret"),) * SECRETS_AT_MOST
_REFUSED: Final = "client authentication failed"


@dataclass(frozen=True, slots=True)
class _Proven:
    """A client that proved itself by what it will show again."""

    client: Client
    ends_at: int | None
    """When that stops working (ms)."""


class Authenticator:
    """Tells who calls. What is in use is remembered, and looked at again every moment."""

    def __init__(
        self, limits: Limits, clients: Clients, assertions: Assertions, tokens: BrokerTokens, clock: Clock
    ) -> None:
        self._limits = limits
        self._clients = clients
        self._assertions = assertions
        self._tokens = tokens
        self._clock = clock
        self._bearers: InUse[str, Caller] = InUse(clock)
        self._by_secret: InUse[tuple[str, str], _Proven] = InUse(clock)
        self._by_assertion: InUse[tuple[str, str], _Proven] = InUse(clock)
        clients.tell(self._forget_client)

    async def client(self, client_id: str, secret: str, address: str, *, from_memory: bool = True) -> Client:
        """The client with this secret. An unknown client and a wrong secret are told apart by nothing.

        :param from_memory: that it proved itself a moment ago is enough.
        :raises Unauthenticated: no such client, or not its secret.
        :raises RateLimited: too many failures from ``address``, or of this client, within a minute.
        """
        presented, now = digest(secret), self._clock()
        if from_memory and (known := _still_good(self._by_secret.get((client_id, presented)), now)):
            return known
        client = await self._clients.read(client_id)
        registered = _secrets_of(client, self._clock()) if client else ()
        # Somebody's secrets are compared, and nobody's in the place of those that are not there: whether the client is
        # unknown, has no secret or another one, the steps are the same.
        compared = [hmac.compare_digest(presented, known) for known in (*registered, *_NOBODYS[len(registered) :])]
        if client and any(compared[: len(registered)]):
            proven = _Proven(client, client.secret_ends.get(presented))
            self._by_secret.put((client_id, presented), proven, asked_at=now)
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

    async def asserted(
        self, assertion: str, client_id: str | None, address: str, *, from_memory: bool = True
    ) -> Client:
        """The client that a signed assertion proves. Whatever is wrong with it, the answer is the same.

        :param client_id: whom the request names beside the assertion, if anybody.
        :param from_memory: that the same one proved it a moment ago is enough, where it may be shown again.
        :raises Unauthenticated: it proves nobody, or somebody else.
        :raises ProviderUnavailable: the keys that would prove it can't be had now.
        :raises RateLimited: too many failures from ``address``, or of the client that was named, within a minute; or
            too many whose keys can't be had.
        """
        shown, now = (client_id or "", digest(assertion)), self._clock()
        if from_memory and (known := _still_good(self._by_assertion.get(shown), now)):
            return known
        try:
            proof = await self._assertions.proof(assertion, client_id)
            if proof.again_until is not None:
                self._by_assertion.put(shown, _Proven(proof.client, proof.again_until), asked_at=now)
            return proof.client
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
        token_digest, now = digest(token), self._clock()
        known = self._bearers.get(token_digest)
        if known is None and (known := await self._bearer_of(token_digest)) is not None:
            self._bearers.put(token_digest, known, asked_at=now)
        if known is None or known.ends_at is None or now >= known.ends_at:
            await self._limits.failure(address)
            raise InvalidToken("the broker token is unknown, expired or revoked")
        return known

    async def still(self, caller: Caller, token: str) -> bool:
        """Whether nobody has taken back what ``caller`` came with; that the token has ended meanwhile is no such thing.

        :raises StoreUnavailable: the store can't be asked.
        """
        if caller.ends_at is not None and self._clock() < caller.ends_at:
            return await self._bearer_of(digest(token)) is not None
        client = await self._clients.read(caller.client_id)
        return client is not None and client.tenant == caller.tenant

    def forget(self, token: str) -> None:
        """Stop remembering a token that was just revoked here."""
        self._bearers.forget(digest(token))

    async def revalidate(self) -> None:
        """Look again at every proof in use since the last look, and forget the others.

        So a request never waits for this, and a revoked token, or a client that was deleted or changed, is refused or
        known anew within seconds.

        :raises Exception: what a look raised, as :meth:`InUse.look_again` does.
        """
        looks = (
            self._bearers.look_again(lambda token_digest, _: self._bearer_of(token_digest)),
            self._by_secret.look_again(self._unchanged),
            self._by_assertion.look_again(self._unchanged),
        )
        for result in await asyncio.gather(*looks, return_exceptions=True):
            # What one of them can't do keeps none of the others from theirs.
            if result is not None:
                raise result

    async def _bearer_of(self, token_digest: str) -> Caller | None:
        grant = await self._tokens.find(token_digest)
        client = await self._clients.read(grant.client_id) if grant else None
        if grant is None or client is None or client.tenant != grant.tenant or not client.honours(grant.tokens_from):
            return None
        scopes = frozenset(grant.scopes) & frozenset(client.scopes)
        return Caller(client.client_id, scopes, grant.reach(client), grant.expires_at)

    async def _unchanged(self, shown: tuple[str, str], proven: _Proven) -> _Proven | None:
        """``proven``, if the client still is what it was; else whoever comes with that is looked at anew."""
        return proven if await self._clients.read(shown[0]) == proven.client else None

    def _forget_client(self, client_id: str) -> None:
        for known in (self._by_secret, self._by_assertion):
            known.forget_all(lambda shown: shown[0] == client_id)


def _still_good(proven: _Proven | None, now: int) -> Client | None:
    """The client, unless what it showed has ended by ``now`` (ms)."""
    if proven is None or (proven.ends_at is not None and now >= proven.ends_at):
        return None
    return proven.client


def _secrets_of(client: Client, now: int) -> tuple[str, ...]:
    """The digests of the secrets that still work at ``now`` (ms)."""
    return tuple(known for known in client.secret_digests if client.secret_ends.get(known, now + 1) > now)

"""Clients that prove themselves by a signature: ``private_key_jwt``, and what their platform signs for them.

* A client with keys of its own signs each assertion itself (RFC 7523 §2.2 and §3, OpenID Connect Core §9): it names
  itself as issuer and subject, us as the one audience, and works once.
* A **workload** shows the token that its platform signs for it, such as a Kubernetes service account's or a CI job's.
  Issuer, audience and subject must be those that were registered, to the letter; the token may be shown again, for the
  platform hands out the same one until it is about to end.

Claims are judged first, for that costs nothing; then the signature; and only a token that is right in all that spends
its ``jti``. Whom a token names decides which registered keys are asked, and never where keys are fetched from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from broker.access.clients import Clients
from broker.access.jws import NotProvenError, SignedToken, is_signed_by, read_token
from broker.access.key_rules import PublicKey, usable_keys
from broker.clock import Clock
from broker.errors import AddressRefused, BrokerError, NotSent, ProviderError, ProviderUnavailable
from broker.models.access import Client, Workload
from broker.upstream.key_sets import KeySets, KeySource
from broker.vault.spent import SpentIds

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""The ``client_assertion_type`` of a signed token (RFC 7523 §2.2)."""

SKEW: Final = 60
"""Seconds that a signer's clock may differ from ours."""

LIFETIME: Final = 300
"""Seconds ahead that a client's own assertion may end."""

PLATFORM_LIFETIME: Final = 86_400
"""Seconds ahead that a platform's token may end: a day, after which a kubelet renews any token. Such a token works as
often as it is shown, so one that lived for a year would be a password that nobody changes."""

_OWN_TYPE: Final = "client-authentication+jwt"
_LONGEST_JTI: Final = 255
_NEVER: Final = 2**53

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Proof:
    """What an assertion proves."""

    client: Client
    again_until: int | None = None
    """Until when (ms) the same assertion proves the same, as long as the client stays as it is. ``None``: it has to be
    judged each time, for it works once, or its keys are published and may be withdrawn where they are."""


class Assertions:
    """From an assertion to the client whose it is."""

    def __init__(
        self, clients: Clients, key_sets: KeySets[tuple[PublicKey, ...]], spent: SpentIds, clock: Clock, issuer: str
    ) -> None:
        self._clients = clients
        self._key_sets = key_sets
        self._spent = spent
        self._clock = clock
        self._issuer = issuer

    async def proof(self, assertion: str, client_id: str | None) -> Proof:
        """What ``assertion`` proves.

        :param client_id: whom the request names beside it, if anybody.
        :raises NotProvenError: it proves nobody; the text says why, for the log.
        :raises ProviderUnavailable: the keys that would prove it can't be had now.
        """
        token = read_token(assertion, {None, "jwt", _OWN_TYPE})
        issuer, subject = _text(token.claims, "iss"), _text(token.claims, "sub")
        # RFC 7521 §4.2: the client_id isn't needed, for the subject is the client. A platform's subject is not.
        client = await self._clients.read(subject if client_id is None else client_id)
        if client is None:
            raise NotProvenError("no such client" if client_id else "no client_id was sent, the subject is no client")
        try:
            if issuer == client.client_id:
                await self._check_own(client, token, subject)
                return Proof(client)
            return Proof(client, await self._check_platform(client, token, issuer, subject))
        except NotProvenError as error:
            error.client_id = client.client_id
            raise

    async def _check_own(self, client: Client, token: SignedToken, subject: str) -> None:
        now = self._clock()
        if subject != client.client_id:
            raise NotProvenError("the subject is another one than the issuer")
        # draft-ietf-oauth-rfc7523bis: with a list, or an endpoint's address, another server that the client talks to
        # could pass its assertion on to us.
        if token.claims.get("aud") != self._issuer:
            raise NotProvenError("the audience is not this issuer alone")
        ends_at = _judge_times(token.claims, now, lifetime=LIFETIME)
        jti = token.claims.get("jti")
        # Printable, and more than spaces: what somebody meant to be a name, not the remains of one.
        if not isinstance(jti, str) or len(jti) > _LONGEST_JTI or not jti.isprintable() or not jti.strip():
            raise NotProvenError("no jti that can be remembered")
        await self._check_signature(client, token, client.jwks, _source(client.jwks_uri))
        # Thrice the skew: it counts until one after its end, our clock may be one ahead, another replica's one behind.
        if not await self._spent.spend(client.client_id, jti, lifetime=ends_at + 3 * SKEW * 1000 - now):
            raise NotProvenError("the jti was used before")

    async def _check_platform(self, client: Client, token: SignedToken, issuer: str, subject: str) -> int | None:
        """Until when it need not be checked again (:attr:`Proof.again_until`)."""
        audience = token.claims.get("aud")
        if isinstance(audience, list) and len(audience) == 1:
            audience = audience[0]
        workload = _registered(client, {"issuer": issuer, "subject": subject, "audience": audience})
        if token.type == _OWN_TYPE:
            raise NotProvenError("the type of the token is another one")
        ends_at = _judge_times(token.claims, self._clock(), lifetime=PLATFORM_LIFETIME)
        await self._check_signature(client, token, workload.jwks, KeySource(workload.issuer, of_issuer=True))
        return None if workload.jwks is None else ends_at + SKEW * 1000

    async def _check_signature(
        self, client: Client, token: SignedToken, jwks: Mapping[str, Any] | None, source: KeySource | None
    ) -> None:
        if jwks is not None:
            keys = usable_keys(jwks.get("keys", ()))
        elif source is not None:
            keys = await self._published(client, token, source)
        else:
            raise NotProvenError("the client has no keys")
        if not is_signed_by(token, keys):
            raise NotProvenError("no key of the signer made this signature")

    async def _published(self, client: Client, token: SignedToken, source: KeySource) -> tuple[PublicKey, ...]:
        def failed(error: BrokerError) -> None:
            # Which address, and how it fails, is the operator's to know and not a stranger's. Once for each look:
            # strangers can ask as often as they like.
            log.warning(
                "authentication.keys_unavailable",
                client_id=client.client_id,
                reason=error.detail,
                advice="list it in BROKER_EGRESS_ALLOW" if isinstance(error, AddressRefused) else None,
            )

        try:
            return await self._key_sets.keys(
                source, lambda keys: token.kid is None or any(key.kid == token.kid for key in keys), failed
            )
        except (NotSent, ProviderError, AddressRefused) as error:
            raise ProviderUnavailable(
                "the keys that would prove this client can't be fetched now", retry_after=error.retry_after or 5
            ) from None


def _source(jwks_uri: str | None) -> KeySource | None:
    return None if jwks_uri is None else KeySource(jwks_uri)


def _registered(client: Client, said: Mapping[str, object]) -> Workload:
    """The workload that the token is of.

    :raises NotProvenError: there is none; the text says how it differs from the one that is most like it.
    """
    if not client.workloads:
        raise NotProvenError("the issuer is another one than the client, which has no workloads")
    differing = [[name for name in said if getattr(workload, name) != said[name]] for workload in client.workloads]
    least = min(differing, key=len)
    if least:
        raise NotProvenError(f"it is of no workload of this client: other {', other '.join(least)}")
    return client.workloads[differing.index(least)]


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise NotProvenError(f"{name} is no text")
    return value


def _judge_times(claims: Mapping[str, Any], now: int, *, lifetime: int) -> int:
    """When the token ends (ms), which must be ahead of ``now`` (ms), by ``lifetime`` seconds at most."""
    ends_at = _moment(claims, "exp")
    if ends_at is None or ends_at + SKEW * 1000 <= now:
        raise NotProvenError("the token has no end, or has ended")
    if ends_at > now + (lifetime + SKEW) * 1000:
        raise NotProvenError("the token ends too far ahead")
    for name in ("iat", "nbf"):
        moment = _moment(claims, name)
        if moment is not None and moment > now + SKEW * 1000:
            raise NotProvenError(f"{name} is ahead")
    return ends_at


def _moment(claims: Mapping[str, Any], name: str) -> int | None:
    """A NumericDate (RFC 7519 §2) in ms: seconds, whole or not."""
    if name not in claims:
        return None
    seconds = claims[name]
    # Neither infinite nor so large that arithmetic with it fails.
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not abs(seconds) < _NEVER:
        raise NotProvenError(f"{name} is no time")
    return int(seconds * 1000)

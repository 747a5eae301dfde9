"""Requests to providers' APIs, with a connection's credential on them: for callers to send, or sent for them.

    judge where it goes → the credential, with the audit event → sign → (send → refused? refresh, once, and send again)

What callers ask for is judged before anything is released, and the event is stored before anything leaves.
"""

import hashlib
from collections.abc import AsyncIterable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, quote_plus

import structlog

from broker.clock import Clock
from broker.connections.detached import Detached
from broker.connections.lifecycle import Lifecycle
from broker.connections.tokens import Tokens
from broker.errors import BrokerError, Conflict
from broker.models.access import Reach
from broker.models.connection import Connection, Credential
from broker.models.event import Event
from broker.models.ids import new_id
from broker.observe import metrics
from broker.providers import Provider, Registry
from broker.upstream import api_address
from broker.upstream.answers import Unspeakable
from broker.upstream.facade import Upstream
from broker.upstream.relay import Header, StreamedAnswer, StreamedRequest
from broker.upstream.schemes.request import Signature, Unsigned
from broker.upstream.schemes.signing import covers_body
from broker.vault.release import Release

_NOT_AGAIN_FOR: Final = 30_000
"""Milliseconds."""
_REMEMBERED: Final = 4096
"""Connections, after which those are forgotten whose time is over."""
_TESTED_LATELY: Final = 60_000
"""Milliseconds for which a test speaks: however often an API refuses, the provider is asked no more often."""
_LONGEST_PATH: Final = 300
"""Characters of a path that an event holds."""

_BOUND_TO_THE_REQUEST: Final = frozenset({"none", "aws_sigv4"})
"""Types of providers of which nothing, or nothing but a signature of the request, goes onto it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A caller's request to the provider's API. Header names are lower-case; a name may stand twice."""

    method: str
    url: str
    headers: Sequence[Header] = field(repr=False)
    content: AsyncIterable[bytes] | bytes = field(default=b"", repr=False)

    def again(self, content: AsyncIterable[bytes] | bytes) -> "ApiRequest":
        """The same request, with its body from the start."""
        return replace(self, content=content)


class ApiCalls:
    """Puts credentials on requests."""

    def __init__(
        self, tokens: Tokens, lifecycle: Lifecycle, upstream: Upstream, providers: Registry, clock: Clock
    ) -> None:
        self._tokens = tokens
        self._lifecycle = lifecycle
        self._upstream = upstream
        self._providers = providers
        self._clock = clock
        self._in_vain: dict[str, int] = {}
        """Connections whose renewed credential was refused, too, and until when none is renewed for that (ms)."""
        self._tests: Detached[None] = Detached()

    def provider_of(self, connection: Connection) -> Provider:
        """The provider whose API the connection's is.

        :raises Conflict: it is no longer configured.
        """
        if connection.provider not in self._providers:
            raise Conflict("the connection's provider is no longer in the providers file")
        return self._providers.get(connection.provider)

    def base_of(self, connection: Connection) -> str:
        """The address of the connection's API, without a slash at its end.

        :raises Conflict: there is none.
        """
        return self._upstream.api(self.provider_of(connection), connection.parameters).url

    def path_below(self, connection: Connection, url: str) -> str:
        """What follows the address of the connection's API in ``url``, without the query; empty: nothing does.

        :raises Conflict: it has none.
        """
        return api_address.path_below(url, self.base_of(connection)) or ""

    async def authorize(
        self, connection: Connection, request: Unsigned, *, reach: Reach, event: Event
    ) -> tuple[Signature, Release]:
        """What to put on ``request``, for a caller who sends it.

        :raises Forbidden: the request goes elsewhere than to the connection's API, or its credential never leaves.
        :raises InvalidRequest: it can't be sent, or not be signed, as it is.
        :raises BrokerError: as :meth:`Tokens.fetch`.
        """
        base = self.base_of(connection)
        api_address.of_the_api(request.url, base)
        self._permit_handing_out(connection, reach)
        event = replace(event, data=_about(request.method, request.url))
        release = await self._tokens.use(connection.id, reach=reach, event=event, leaves=True)
        self._permit_handing_out(_whole(release)[0], reach)
        return self._sign(release, request, base=base), release

    async def send(
        self, connection: Connection, request: ApiRequest, *, reach: Reach, event: Event
    ) -> tuple[StreamedAnswer, Release]:
        """Send ``request`` with the credential on it. The answer's body is still on its way; whoever gets it closes it.

        :raises InvalidRequest: it can't be signed or sent as it is.
        :raises ProviderUnavailable: it can't be sent now, or was not answered.
        :raises BrokerError: as :meth:`Tokens.fetch`.
        """
        event = replace(event, data=_about(request.method, request.url))
        release = await self._tokens.use(connection.id, reach=reach, event=event, leaves=False)
        return await self._send(release, request, base=self.base_of(connection)), release

    async def send_again(
        self, connection: Connection, request: ApiRequest, refused: Release, *, reach: Reach, event: Event
    ) -> tuple[StreamedAnswer, Release] | None:
        """Send ``request`` with another credential than ``refused``, which the provider did not accept.

        ``None``: there is no other, and nothing was sent.
        """
        served, credential = _whole(refused)
        if credential.refresh_token is None and not served.issued:
            self._doubt(served)
            return None
        if self._in_vain.get(served.id, 0) > self._clock():
            return None
        event = replace(event, id=new_id("evt"), data={**_about(request.method, request.url), "again": True})
        try:
            release = await self._tokens.use(
                served.id,
                reach=reach,
                event=event,
                leaves=False,
                refused_generation=refused.generation,
                alone=refused.fallback_for is not None,
            )
        except BrokerError as error:
            log.info("proxy.not_renewed", connection_id=served.id, reason=error.detail)
            return None
        answer = await self._send(release, request, base=self.base_of(connection))
        if answer.status == 401:
            # What was just issued is refused like what was there before: it is the request, and no refresh will help.
            self._note_in_vain(served.id)
        return answer, release

    def _note_in_vain(self, connection_id: str) -> None:
        now = self._clock()
        if len(self._in_vain) >= _REMEMBERED:
            self._in_vain = {known: until for known, until in self._in_vain.items() if until > now}
        self._in_vain[connection_id] = now + _NOT_AGAIN_FOR

    def _doubt(self, connection: Connection) -> None:
        """The API refused a credential that can't be renewed. A test tells whether that is why; nobody waits for it."""
        last = connection.health.last_checked_at or 0
        if self._clock() - last >= _TESTED_LATELY:
            self._tests.start(connection.id, lambda: self._test(connection))

    async def _test(self, connection: Connection) -> None:
        try:
            await self._lifecycle.test(connection, request_id=None, unasked=True)
        except BrokerError as error:
            log.info("proxy.tested", connection_id=connection.id, outcome=error.code)

    async def drain(self, seconds: float) -> int:
        """Let tests that were begun finish; answers how many did not within ``seconds``."""
        return await self._tests.drain(seconds)

    async def _send(self, release: Release, request: ApiRequest, *, base: str) -> StreamedAnswer:
        served, credential = _whole(release)
        provider = self.provider_of(served)
        body = request.content if isinstance(request.content, bytes) else None
        if body is None and covers_body(provider) != "nothing":
            # One that stands in for another is found out only now, when the body is on its way.
            raise Conflict(
                "the connection that serves instead has to sign the body, which can't be sent piece by piece"
            )
        unsigned = Unsigned(
            request.method,
            request.url,
            dict(request.headers),
            body,
            hashlib.sha256(body or b"").hexdigest(),
        )
        signature = self._sign(release, unsigned, base=base)
        # Some servers can't tell X_Api_Key from X-Api-Key.
        headers = [(name, value) for name, value in request.headers if name.replace("_", "-") not in signature.headers]
        if provider.api:
            given = {name for name, _ in headers} | signature.headers.keys()
            added = ((name.lower(), value) for name, value in provider.api.headers.items())
            headers += [(name, value) for name, value in added if name not in given]
        outbound = StreamedRequest(
            request.method,
            api_address.with_query(request.url, signature.query),
            [*headers, *signature.headers.items()],
            request.content,
        )
        trusted = self._upstream.api(provider, served.parameters).trusted
        answer = await self._upstream.relay(provider, outbound, trusted=trusted)
        metrics.proxied.labels(provider.name, f"{answer.status // 100}xx").inc()
        # Providers repeat what they were sent, in addresses of other pages above all.
        shown = [credential.fields[name] for name in provider.public_fields if name in credential.fields]
        answer.headers = _without(answer.headers, signature, shown)
        return answer

    def _sign(self, release: Release, request: Unsigned, *, base: str) -> Signature:
        served, credential = _whole(release)
        if self.base_of(served) != base:
            # A connection that stands in for another is at the same place, or it is of no use here.
            raise Conflict("the connection that serves instead has its API elsewhere")
        return self._upstream.sign(self.provider_of(served), served.parameters, credential, request)

    def _permit_handing_out(self, connection: Connection, reach: Reach) -> None:
        """Return if what goes onto a request may be handed out: it is good for that request alone, or the caller may
        make every request.

        :raises Forbidden: it could be put on requests that the caller may not make.
        """
        if self.provider_of(connection).type not in _BOUND_TO_THE_REQUEST:
            reach.permit_handing_out()

    def signs_bodies(self, connection: Connection) -> bool:
        """Whether a request's body has to be known as a whole before it is sent."""
        return covers_body(self.provider_of(connection)) != "nothing"


def _whole(release: Release) -> tuple[Connection, Credential]:
    if release.whole is None:
        raise ValueError("released without its credential")
    return release.whole


def _without(
    headers: Iterable[tuple[bytes, bytes]], signature: Signature, shown: Iterable[str]
) -> list[tuple[bytes, bytes]]:
    """``headers`` without what was put on the request: cut out of addresses, and else left out with their header."""
    unspeakable, kept = Unspeakable(signature.secrets_without(shown)), []
    for name, value in headers:
        text = value.decode("latin-1")
        if unspeakable.repeated_in(text):
            for secret in signature.query.values():
                for spelt in (quote(secret, safe=""), quote_plus(secret), secret):
                    text = text.replace(spelt, "")
            if unspeakable.repeated_in(text):
                continue
        kept.append((name, text.encode("latin-1")))
    return kept


def _about(method: str, url: str) -> dict[str, str]:
    """What an event says of a request: not its query, which may hold what nobody else should read."""
    address = url.partition("?")[0]
    host, _, path = address.partition("://")[2].partition("/")
    return {"method": method, "host": host, "path": f"/{path}"[:_LONGEST_PATH]}

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
from broker.connections.api_places import ApiPlace, ApiPlaces
from broker.connections.detached import Detached
from broker.connections.lifecycle import Lifecycle
from broker.connections.tokens import Tokens
from broker.errors import BrokerError, Conflict, Forbidden
from broker.models.access import Reach
from broker.models.connection import Connection, Credential, Served
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


class Elsewhere(Forbidden):
    """The request goes elsewhere than to where the connection's API was judged to be. Nothing was released."""


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
        self._places = ApiPlaces(upstream, providers)
        self._clock = clock
        self._in_vain: dict[str, int] = {}
        """Connections whose renewed credential was refused, too, and until when none is renewed for that (ms)."""
        self._tests: Detached[None] = Detached()

    def known_place(self, connection_id: str, reach: Reach) -> ApiPlace | None:
        """See :meth:`ApiPlaces.known`."""
        return self._places.known(connection_id, reach)

    def place_of(self, connection: Connection | Served) -> ApiPlace:
        """See :meth:`ApiPlaces.of`."""
        return self._places.of(connection)

    async def authorize(
        self, place: ApiPlace, request: Unsigned, *, reach: Reach, event: Event
    ) -> tuple[Signature, Release]:
        """What to put on ``request``, for a caller who sends it.

        :param place: where the connection's API is, as it was judged; nothing is released if it has moved.
        :raises Elsewhere: the request goes elsewhere than to the connection's API.
        :raises Forbidden: its credential never leaves.
        :raises InvalidRequest: it can't be sent, or not be signed, as it is.
        :raises BrokerError: as :meth:`Tokens.use`.
        """
        try:
            api_address.of_the_api(request.url, place.base)
        except Forbidden as error:
            raise Elsewhere(error.detail) from None
        _permit_handing_out(place.provider, reach)
        event = replace(event, data=_about(request.method, request.url))
        release = await self._tokens.use(
            place.connection_id, reach=reach, event=event, leaves=True, grant_id=place.grant_id
        )
        served = self._served(release, place)
        _permit_handing_out(served.provider, reach)
        return self._sign(release, request, served), release

    async def send(
        self, place: ApiPlace, request: ApiRequest, *, reach: Reach, event: Event
    ) -> tuple[StreamedAnswer, Release]:
        """Send ``request`` with the credential on it. The answer's body is still on its way; whoever gets it closes it.

        :param place: where the connection's API is, as it was judged; nothing is released or sent if it has moved.
        :raises InvalidRequest: it can't be signed or sent as it is.
        :raises ProviderUnavailable: it can't be sent now, or was not answered.
        :raises BrokerError: as :meth:`Tokens.use`.
        """
        event = replace(event, data=_about(request.method, request.url))
        release = await self._tokens.use(
            place.connection_id, reach=reach, event=event, leaves=False, grant_id=place.grant_id
        )
        return await self._send(release, request, place), release

    async def send_again(
        self, place: ApiPlace, request: ApiRequest, refused: Release, *, reach: Reach, event: Event
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
        answer = await self._send(release, request, place)
        if answer.status == 401:
            # What was just issued is refused like what was there before: it is the request, and no refresh will help.
            self._note_in_vain(served.id)
        return answer, release

    def _note_in_vain(self, connection_id: str) -> None:
        now = self._clock()
        if len(self._in_vain) >= _REMEMBERED:
            self._in_vain = {known: until for known, until in self._in_vain.items() if until > now}
        self._in_vain[connection_id] = now + _NOT_AGAIN_FOR

    def _doubt(self, served: Served) -> None:
        """The API refused a credential that can't be renewed. A test tells whether that is why; nobody waits for it."""
        self._tests.start(served.id, lambda: self._test(served.id))

    async def _test(self, connection_id: str) -> None:
        try:
            await self._lifecycle.test_unless_lately(connection_id, since=self._clock() - _TESTED_LATELY)
        except BrokerError as error:
            log.info("proxy.tested", connection_id=connection_id, outcome=error.code)

    async def drain(self, seconds: float) -> int:
        """Let tests that were begun finish; answers how many did not within ``seconds``."""
        return await self._tests.drain(seconds)

    async def _send(self, release: Release, request: ApiRequest, place: ApiPlace) -> StreamedAnswer:
        served = self._served(release, place)
        provider = served.provider
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
        signature = self._sign(release, unsigned, served)
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
        answer = await self._upstream.relay(provider, outbound, trusted=served.trusted)
        metrics.proxied.labels(provider.name, f"{answer.status // 100}xx").inc()
        credential = _whole(release)[1]
        # Providers repeat what they were sent, in addresses of other pages above all.
        shown = [credential.fields[name] for name in provider.public_fields if name in credential.fields]
        answer.headers = _without(answer.headers, signature, shown)
        return answer

    def _served(self, release: Release, judged: ApiPlace) -> ApiPlace:
        """The place of the connection that serves: the one that was judged, or one that stands in for it.

        :raises Conflict: that one's API is elsewhere.
        """
        served = self._places.of(_whole(release)[0])
        if served.base != judged.base:
            # A connection that stands in for another is at the same place, or it is of no use here.
            raise Conflict("the connection that serves instead has its API elsewhere")
        return served

    def _sign(self, release: Release, request: Unsigned, served: ApiPlace) -> Signature:
        return self._upstream.sign(served.provider, served.parameters, _whole(release)[1], request)


def signs_bodies(place: ApiPlace) -> bool:
    """Whether a request's body has to be known as a whole before it is sent."""
    return covers_body(place.provider) != "nothing"


def _permit_handing_out(provider: Provider, reach: Reach) -> None:
    """Return if what goes onto a request may be handed out: it is good for that request alone, or the caller may make
    every request.

    :raises Forbidden: it could be put on requests that the caller may not make.
    """
    if provider.type not in _BOUND_TO_THE_REQUEST:
        reach.permit_handing_out()


def _whole(release: Release) -> tuple[Served, Credential]:
    if release.whole is None:
        raise ValueError("released without its credential")
    return release.whole


def _without(
    headers: list[tuple[bytes, bytes]], signature: Signature, shown: Iterable[str]
) -> list[tuple[bytes, bytes]]:
    """``headers`` without what was put on the request: cut out of addresses, and else left out with their header."""
    told = [(name, value.decode("latin-1")) for name, value in headers]
    unspeakable = Unspeakable(signature.secrets_without(shown))
    if not unspeakable.repeated_in("\n".join(text for _, text in told)):
        return headers
    kept = []
    for name, text in told:
        speakable = text
        if unspeakable.repeated_in(text):
            speakable = _cut_out(signature.query.values(), text)
            if unspeakable.repeated_in(speakable):
                continue
        kept.append((name, speakable.encode("latin-1")))
    return kept


def _cut_out(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        for spelt in (quote(secret, safe=""), quote_plus(secret), secret):
            text = text.replace(spelt, "")
    return text


def _about(method: str, url: str) -> dict[str, str]:
    """What an event says of a request: not its query, which may hold what nobody else should read."""
    address = url.partition("?")[0]
    host, _, path = address.partition("://")[2].partition("/")
    return {"method": method, "host": host, "path": f"/{path}"[:_LONGEST_PATH]}

"""The only way out: one HTTP client with a total deadline, a capped body, no redirects and a guard."""

import re
import socket
import ssl
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2

from broker.errors import InvalidRequest, NotSent, OutcomeUnknown
from broker.upstream.address_guard import AddressGuard, IPNetwork, Resolver, parse_address
from broker.upstream.deadline import within

MAX_BODY = 1024 * 1024
"""Bytes of an answer's body, decoded, that are read at most."""

_TOO_LARGE = f"the provider's answer is larger than {MAX_BODY} bytes"
_MEMBERS_AT_MOST = 16
_GZIP_MAGIC = b"\x1f\x8b"
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Codings that are understood, and how zlib is told which one it is."""
_MAX_CONNECTIONS = 1024
"""So many that providers which hang, each with as many requests as it may have, leave room for the others."""
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One request to a provider; header names are lower-case. What may hold secrets stays out of the repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class InboundResponse:
    """A whole answer. Header names are lower-case; the body is decoded and at most ``MAX_BODY`` long."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class WithheldError(Exception):
    """The request may not be sent any more."""


class Progress:
    """How far one request got, which decides what its failure means."""

    def __init__(self, host: str, permit: Callable[[], bool]) -> None:
        self._host = host
        self._permit = permit
        self._stream: Any = None
        self.sent = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow the client's steps: its ``trace`` extension calls this before and after each.

        :raises WithheldError: the request is about to leave, and may not any more.
        """
        match event.rpartition("."):
            case (step, _, "started") if step.endswith("send_request_headers"):
                # From here on the provider may have seen the request; a proxy's CONNECT doesn't count.
                if info["request"].method != b"CONNECT":
                    if not self._permit():
                        raise WithheldError
                    self.sent = True
            case (step, _, "complete") if step.endswith("connect_tcp"):
                self._stream = info["return_value"]
            case (step, _, "failed") if step.endswith("start_tls"):
                # Cancelled during the handshake (that is how the deadline ends it), the client forgets the socket.
                await self._stream.aclose()

    def failure(self, error: Exception) -> NotSent | OutcomeUnknown:
        """The error to raise for ``error``. Its own text stays out: it was written for nobody's eyes."""
        reason = _reason(error)
        if self.sent:
            return OutcomeUnknown(f"the request to {self._host} was sent but not answered: {reason}")
        return NotSent(f"{self._host} can't be reached: {reason}")


class Egress:
    """Sends requests out of the house. One per process; close it with :meth:`aclose`."""

    def __init__(
        self,
        *,
        allow: Collection[str | IPNetwork] = (),
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolver | None = None,
    ) -> None:
        """
        :param allow: host names and networks that guarded calls may reach although private.
        :param proxy: the URL of an HTTP proxy for all calls; proxy variables of the environment are never read.
        :param ssl_context: whom to trust, by default the system's authorities.
        """
        self.guard = AddressGuard(allow, resolve)
        self.tls = ssl_context or httpx2.create_ssl_context(trust_env=False)
        self.proxy = proxy
        # No connection is kept. One that died while idle is noticed only after sending on it, which would turn a
        # refresh into an unknown outcome; and to a pinned address, one name's request could travel on a connection that
        # was verified for another name.
        self._client = self.client(httpx2.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0))

    def client(self, limits: httpx2.Limits) -> httpx2.AsyncClient:
        """A client with a pool of its own: no cookies, no redirects, nothing from the environment."""
        return httpx2.AsyncClient(
            headers={"accept-encoding": "identity", "user-agent": "oauth-broker"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            verify=self.tls,
            trust_env=False,
            proxy=self.proxy,
            follow_redirects=False,
            limits=limits,
        )

    async def send(
        self,
        request: OutboundRequest,
        *,
        deadline: float,
        trusted: bool,
        permit: Callable[[], bool] = lambda: True,
    ) -> InboundResponse:
        """Send ``request`` and read the whole answer within ``deadline`` seconds. A redirect is an answer. What has
        arrived while this process stood still is read all the same (:mod:`deadline`).

        :param trusted: the operator wrote this host. All others are resolved here, checked, and dialled at exactly the
            addresses that were checked, while TLS and ``Host`` keep the name.
        :param permit: asked when the connection stands, at the last moment before the request leaves.
        :raises AddressRefused: the address may not be called. Nothing was sent.
        :raises InvalidRequest: a header can't be sent as it is. Nothing was sent.
        :raises NotSent: DNS, connecting or TLS failed or took too long, or ``permit`` said no.
        :raises OutcomeUnknown: the request left, but no whole answer came back.
        """
        url = parse_address(request.url)
        check_headers(request.headers.items())
        progress = Progress(url.host, permit)
        try:
            async with within(deadline):
                targets = [url] if trusted else await self.pinned(url)
                return await self._first_reached(request, url, targets, deadline, progress)
        except WithheldError:
            raise NotSent("the right to send the request ended before it left") from None
        except (TimeoutError, httpx2.HTTPError, OSError) as error:
            raise progress.failure(error) from None

    async def aclose(self) -> None:
        """Close whatever is open."""
        await self._client.aclose()

    async def pinned(self, url: httpx2.URL) -> list[httpx2.URL]:
        """``url`` at each of its addresses, resolved and checked.

        :raises AddressRefused, NotSent: as :meth:`send` does.
        """
        port = url.port or (443 if url.scheme == "https" else 80)
        host = url.raw_host.decode("ascii")
        return [url.copy_with(host=str(address)) for address in await self.guard.addresses(host, port)]

    async def _first_reached(
        self,
        request: OutboundRequest,
        url: httpx2.URL,
        targets: list[httpx2.URL],
        deadline: float,
        progress: Progress,
    ) -> InboundResponse:
        """Go on to the next address only while nothing was sent. All share the deadline for connecting."""
        for target in targets[:-1]:
            try:
                return await self._exchange(request, url, target, deadline / len(targets), progress)
            except httpx2.HTTPError:
                if progress.sent:
                    raise
        return await self._exchange(request, url, targets[-1], deadline, progress)

    async def _exchange(
        self,
        request: OutboundRequest,
        url: httpx2.URL,
        target: httpx2.URL,
        connect_timeout: float,
        progress: Progress,
    ) -> InboundResponse:
        outbound = self._client.build_request(
            request.method,
            target,
            headers={**request.headers, "host": url.netloc.decode("ascii"), "connection": "close"},
            content=request.content,
            timeout=httpx2.Timeout(None, connect=connect_timeout),
            # The certificate is checked against the name, whichever address is dialled.
            extensions={"trace": progress.trace, "sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await self._client.send(outbound, stream=True)
        try:
            return InboundResponse(response.status_code, dict(response.headers), await _capped_body(response))
        finally:
            await response.aclose()


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """Return if each header can be sent as it is.

    :raises InvalidRequest: naming the one that can't.
    """
    for name, value in headers:
        if not _HEADER_VALUE.fullmatch(value):
            raise InvalidRequest(f"the header {name} would hold characters that a header can't have")


async def _capped_body(response: httpx2.Response) -> bytes:
    """The body, capped as it travels and as it is: decoders of the client's own would go on where a cap has no say."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            raise OutcomeUnknown(_TOO_LARGE)
    try:
        return _decoded(bytes(body), response.headers.get("content-encoding", ""))
    except OutcomeUnknown:
        if response.status_code < 300:
            raise
        # Of a refusal the status says enough: how long to wait, that a token is not accepted.
        return b""


def _decoded(body: bytes, codings: str) -> bytes:
    """``body`` out of one layer: some servers compress although they are asked not to (RFC 9110 §12.5.3).

    What isn't labelled with a coding we know is left as it is, for the parser to judge.
    """
    named = [
        coding for coding in (part.strip().lower() for part in codings.split(",")) if coding not in {"", "identity"}
    ]
    if len(named) > 1:
        raise OutcomeUnknown("the provider's answer is encoded more than once, which was not asked for")
    if not body or not named or named[0] not in _WINDOW_BITS:
        return body
    decoded, rest = b"", body
    # A gzip body may have several members (RFC 1952 §2.2); each copies what follows it, so not any number of them.
    for _ in range(_MEMBERS_AT_MOST):
        decoder = zlib.decompressobj(wbits=_WINDOW_BITS[named[0]])
        try:
            decoded += decoder.decompress(rest, MAX_BODY + 1 - len(decoded))
        except zlib.error:
            raise OutcomeUnknown("the provider's answer is not encoded in the way that it says") from None
        if len(decoded) > MAX_BODY:
            raise OutcomeUnknown(_TOO_LARGE)
        if not decoder.eof:
            raise OutcomeUnknown("the provider's answer ends in the middle")
        rest = decoder.unused_data
        if not rest.startswith(_GZIP_MAGIC):
            return decoded
    raise OutcomeUnknown("the provider's answer is in too many pieces")


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLError():
                return "TLS failed"
            case socket.gaierror():
                return "the name does not resolve"
            case TimeoutError() | httpx2.TimeoutException():
                return "it took too long"
            case ConnectionRefusedError():
                return "the connection was refused"
            case BaseExceptionGroup():
                # A name with several addresses: what was wrong with the first of them.
                cause = cause.exceptions[0]
                continue
        cause = cause.__cause__ or cause.__context__
    return "the connection failed"

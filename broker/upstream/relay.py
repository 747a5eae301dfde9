"""Requests of callers on their way to a provider's API, and answers on their way back, piece by piece.

The same way out as :mod:`egress` has it, with the same guard, but nothing is read as a whole: what comes in at one end
goes out at the other, no faster than either of them takes it. Relayed requests have connections of their own, so that
slow ones hold up no refresh.
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx2

from broker.errors import NotSent, OutcomeUnknown, ProviderError
from broker.upstream.address_guard import parse_address
from broker.upstream.egress import Egress, Progress, check_headers

_MAX_CONNECTIONS: Final = 2048
"""Per worker. Who comes when all are taken is told so at once: a line of them would only be more to hold."""
_ANSWERS: Final = range(200, 600)

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StreamedRequest:
    """One request to a provider's API. Header names are lower-case; a name may stand twice."""

    method: str
    url: str = field(repr=False)
    """A credential may stand in the query."""
    headers: Sequence[Header] = field(repr=False)
    content: AsyncIterable[bytes] | bytes = field(default=b"", repr=False)


class StreamedAnswer:
    """An answer whose body is still on its way. Close it."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: list[tuple[bytes, bytes]] = [(name.lower(), value) for name, value in response.headers.raw]

    @property
    def announced(self) -> int | None:
        """How many bytes the body will have, where the provider says so."""
        said = dict(self.headers).get(b"content-length", b"")
        return int(said) if said.isdigit() else None

    async def body(self, *, at_most: int | None = None) -> AsyncIterator[bytes]:
        """The body as it travels, still in whatever content coding it has.

        :param at_most: bytes after which it is broken off.
        :raises OutcomeUnknown: the provider stopped in the middle, or said more than that.
        """
        passed = 0
        try:
            async for piece in self._response.aiter_raw():
                passed += len(piece)
                if at_most is not None and passed > at_most:
                    raise OutcomeUnknown(f"the provider's answer is larger than {at_most} bytes")
                yield piece
        except (TimeoutError, httpx2.HTTPError, OSError):
            raise OutcomeUnknown("the provider's answer ended in the middle") from None
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connection, whether or not the body was read."""
        await self._response.aclose()


class Relay:
    """Sends requests on, and hands answers back while they come in. One per process; close it."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        # No connection is kept. What a provider says behind the end of an answer (a body to HEAD, a length that was too
        # short) would be taken for the answer to the next request on that connection, whoever's that is.
        self._client = egress.client(httpx2.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0))

    async def open(self, request: StreamedRequest, *, patience: float, trusted: bool) -> StreamedAnswer:
        """Send ``request``; returns when the head of the answer is there.

        :param patience: seconds for connecting, for each part that is sent, until the head, and between parts of the
            body.
        :param trusted: as with :meth:`Egress.send`.
        :raises AddressRefused, InvalidRequest, NotSent: nothing was sent.
        :raises OutcomeUnknown: the request left, in part at least, but no answer came back.
        :raises ProviderError: what came back is no answer to a request.
        """
        url = parse_address(request.url)
        check_headers(request.headers)
        progress = Progress(url.host, lambda: True)
        try:
            targets = [url] if trusted else await self._egress.pinned(url)
            return await self._first_reached(request, url, targets, patience, progress)
        except httpx2.PoolTimeout:
            raise NotSent("too many requests are being relayed", retry_after=1) from None
        except (TimeoutError, httpx2.HTTPError, OSError) as error:
            raise progress.failure(error) from None

    async def aclose(self) -> None:
        """Close whatever is open."""
        await self._client.aclose()

    async def _first_reached(
        self,
        request: StreamedRequest,
        url: httpx2.URL,
        targets: Sequence[httpx2.URL],
        patience: float,
        progress: Progress,
    ) -> StreamedAnswer:
        for target in targets[:-1]:
            try:
                return await self._exchange(request, url, target, patience, progress)
            except (httpx2.HTTPError, OSError):
                if progress.sent:
                    raise
        return await self._exchange(request, url, targets[-1], patience, progress)

    async def _exchange(
        self,
        request: StreamedRequest,
        url: httpx2.URL,
        target: httpx2.URL,
        patience: float,
        progress: Progress,
    ) -> StreamedAnswer:
        outbound = self._client.build_request(
            request.method,
            target,
            # Not that the connection is to be closed, although it will be: who refuses a body half-way and then closes
            # would tear the refusal away with it.
            headers=[("host", url.netloc.decode("ascii")), *request.headers],
            content=request.content,
            timeout=httpx2.Timeout(patience, pool=0.0),
            extensions={"trace": progress.trace, "sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await self._client.send(outbound, stream=True)
        if response.status_code not in _ANSWERS:
            # Another protocol, which nobody asked for, or a number without a meaning.
            await response.aclose()
            raise ProviderError("the provider answered with a status that ends no request")
        return StreamedAnswer(response)

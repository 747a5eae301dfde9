"""The proxy's routes: one per method, all alike."""

from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import Response

from broker.access.policy import permit_request
from broker.connections.api_calls import ApiCalls, ApiRequest, signs_bodies
from broker.connections.api_places import ApiPlace
from broker.connections.tokens import Moved
from broker.downstream.api.gate import Call, Gate
from broker.downstream.operation import DeclaredRoute, Face, Operation
from broker.downstream.proxy.hanging_up import CallerGoneError, hung_up, unless
from broker.downstream.proxy.headers import asked, told
from broker.downstream.proxy.relayed import RelayedResponse
from broker.downstream.proxy.uploads import SIGNED_AT_MOST, Room, Upload
from broker.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
    StoreUnavailable,
    Unauthenticated,
)
from broker.http.problems import Problem
from broker.providers.sections import Api
from broker.upstream import api_address
from broker.upstream.relay import StreamedAnswer
from broker.vault.release import Release

_SCOPE: Final = "proxy"
_HELD_AT_MOST: Final = 8 * SIGNED_AT_MOST
"""Bytes of bodies that are signed, in this process."""
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""HEAD goes with GET."""

PROXY: Final = Face(
    name="proxy",
    takes="*/*",
    gives="*/*",
    refuses_with="application/problem+json",
    refusal=Problem,
    always=(InvalidRequest, Unauthenticated, PayloadTooLarge, RateLimited, StoreUnavailable),
    schemes=["broker_token"],
)


def _operation(method: str) -> Operation:
    return Operation(
        face=PROXY,
        name=f"proxy_{method.lower()}",
        method=method,
        path="/proxy/{connection_id}/{path:path}",
        tag="Proxy",
        summary=f"Send a {method} request to the provider's API, with the connection's credential on it.",
        scope=_SCOPE,
        relays=True,
        refuses=(NotFound, Forbidden, Conflict, ReauthRequired, ProviderError, ProviderUnavailable),
    )


class ProxyRoutes:
    """The provider's API."""

    def __init__(self, gate: Gate, calls: ApiCalls, public_url: str) -> None:
        """:param public_url: where callers reach the broker."""
        self._gate = gate
        self._calls = calls
        self._own_host = urlsplit(public_url).netloc
        self._room = Room(_HELD_AT_MOST)

    def routes(self) -> list[DeclaredRoute]:
        """The routes of the proxy."""
        return [self._gate.route(_operation(method), self._pass_on) for method in _METHODS]

    async def _pass_on(self, call: Call) -> Response:
        place = self._calls.known_place(call.path("connection_id"), call.caller.reach) or await self._read_place(call)
        url = _target(call, place)
        api = place.provider.api or Api(base_url=place.base)
        upload = Upload(call.request, at_most=api.max_request_body, patience=api.timeout)
        try:
            answer, release = await self._asked(call, place, url, upload)
        except Moved:
            place = await self._read_place(call)
            url = _target(call, place)
            answer, release = await self._asked(call, place, url, upload)
        return await self._passed_back(call, answer, release, url=url, at_most=api.max_response_body)

    async def _read_place(self, call: Call) -> ApiPlace:
        return self._calls.place_of(await self._gate.connection(call, _SCOPE))

    async def _asked(self, call: Call, place: ApiPlace, url: str, upload: Upload) -> tuple[StreamedAnswer, Release]:
        with ExitStack() as held:
            request = ApiRequest(call.request.scope["method"], url, asked(call.request.headers.raw))
            if not upload.is_empty:
                request = await self._with_body(request, place, upload, held)
            sending = self._send(call, place, request, upload)
            try:
                return await unless(sending, hung_up(call.request.receive, listen_from=upload.ended))
            except CallerGoneError:
                raise InvalidRequest("the caller hung up") from None

    async def _with_body(self, request: ApiRequest, place: ApiPlace, upload: Upload, held: ExitStack) -> ApiRequest:
        """The request with its body: as it comes in; or all of it, with room ``held``, where a signature needs that."""
        if signs_bodies(place):
            size = SIGNED_AT_MOST if upload.length is None else upload.length
            if size > SIGNED_AT_MOST:
                raise PayloadTooLarge(f"a body that is signed may have {SIGNED_AT_MOST} bytes")
            held.enter_context(self._room.taken(size))
            # It was read before where the connection has moved since it was judged.
            return request.again(await upload.whole() if upload.again is None else upload.again)
        if upload.length is not None:
            announced = ("content-length", str(upload.length))
            request = ApiRequest(request.method, request.url, [*request.headers, announced])
        return request.again(upload.pieces())

    async def _passed_back(
        self, call: Call, answer: StreamedAnswer, release: Release, *, url: str, at_most: int | None
    ) -> Response:
        announced = answer.announced if call.request.method != "HEAD" else None
        if at_most is not None and announced is not None and announced > at_most:
            await answer.aclose()
            raise ProviderError(f"an answer of this provider may have {at_most} bytes")
        passed = told(
            answer.headers,
            answer.status,
            connection_id=release.connection_id,
            url=url,
            own_hosts={self._own_host, call.request.headers.get("host", "")},
        )
        stands = self._gate.standing(call, release.connection_id)
        return RelayedResponse(answer, passed, at_most=at_most, stands=stands)

    async def _send(
        self, call: Call, place: ApiPlace, request: ApiRequest, upload: Upload
    ) -> tuple[StreamedAnswer, Release]:
        """The provider's answer; after a 401 with a fresh credential, where there is one and the body is here."""
        reach, event = call.caller.reach, call.event("proxy.requested", place.connection_id)
        answer, release = await self._calls.send(place, request, reach=reach, event=event)
        if answer.status != 401 or (body := upload.again) is None:
            return answer, release
        try:
            renewed = await self._calls.send_again(place, request.again(body), release, reach=reach, event=event)
        except BaseException:
            await answer.aclose()
            raise
        if renewed is None:
            return answer, release
        await answer.aclose()
        return renewed


def _target(call: Call, place: ApiPlace) -> str:
    """The address that is asked for, which is within the API and the caller's allow list."""
    path = _path_of(call)
    permit_request(call.caller, call.request.method, path)
    return api_address.below(place.base, path, call.request.scope["query_string"].decode("latin-1"))


def _path_of(call: Call) -> str:
    """The path behind the connection's id, as it came."""
    raw: bytes = call.request.scope.get("raw_path") or call.request.scope["path"].encode()
    prefix = f"/proxy/{call.path('connection_id')}"
    path = raw.partition(b"?")[0].decode("latin-1")
    if not path.startswith(f"{prefix}/"):
        # Spelt with percent signs where none are needed.
        raise NotFound("no such connection")
    return path.removeprefix(prefix)

"""``Idempotency-Key``: a caller that lost the answer asks again, and what it asked for is there once.

The key is the client's own, for one route; who asks, and whether they may, was judged before it is looked at. For a day
a repeat gets the first answer again, with ``Idempotent-Replayed: true``. The same key for another body, or while the
first request is at work, is a conflict. What was refused left nothing behind, so the key is free again.

A worker that dies in the middle leaves its claim behind; after five minutes the next repeat takes it over, together
with the id that was drawn: what the dead one may have made is found, or made over, and never doubled.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from broker.connections.detached import Detached
from broker.downstream.api.gate import IDEMPOTENCY_KEY, Call, Handler
from broker.errors import Conflict, FieldFault, InvalidRequest, RequestError, StoreUnavailable
from broker.models.ids import new_id
from broker.vault.repeats import Claim, Found, StoredRepeats

REPLAYED: Final = "Idempotent-Replayed"

_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")

log = structlog.get_logger(__name__)


class Repeats:
    """Carries out requests that may come again."""

    def __init__(self, stored: StoredRepeats) -> None:
        self._stored = stored
        self._running: Detached[Response] = Detached()

    async def answer(self, call: Call, handler: Handler) -> Response:
        """What ``handler`` answers to ``call``, or answered to the same call before.

        :raises InvalidRequest: the key is none.
        :raises Conflict: it was used for something else, or the first request is at work.
        """
        key = _key_of(call.request)
        if key is None:
            return await handler(call)
        # Detached, from the claim on: a caller that goes away must leave neither a claim that nobody works on, nor an
        # effect whose answer nobody kept.
        return await self._running.join(call.request_id, lambda: self._claim(call, handler, key))

    async def drain(self, seconds: float) -> int:
        """Wait for what is at work; answers how many still were after ``seconds``."""
        return await self._running.drain(seconds)

    async def _claim(self, call: Call, handler: Handler, key: str) -> Response:
        drawn = new_id("x").partition("_")[2]
        claim = Claim(call.caller.tenant, _request(call, key), _fingerprint(call.raw_body), drawn)
        found = await self._stored.claim(claim, call.now)
        match found.state:
            case "other":
                raise Conflict(f"this {IDEMPOTENCY_KEY} was used for a request that says something else")
            case "running":
                raise Conflict(f"the first request with this {IDEMPOTENCY_KEY} is still at work", retry_after=1)
            case "answered":
                return call.made(found.answer, headers={REPLAYED: "true"})
        return await self._carry_out(call, handler, claim, found)

    async def _carry_out(self, call: Call, handler: Handler, claim: Claim, found: Found) -> Response:
        try:
            response = await handler(replace(call, drawn=found.drawn))
        except RequestError:
            await self._note(lambda: self._stored.settle(claim, found.attempt, "undone"))
            raise
        except BaseException:
            await self._note(lambda: self._stored.settle(claim, found.attempt, "unknown"))
            raise
        await self._note(lambda: self._stored.answered(claim, found.attempt, bytes(response.body)))
        return response

    async def _note(self, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        except StoreUnavailable as error:
            # The answer is right all the same; who asks again waits until the claim can be taken over.
            log.warning("repeat.not_noted", reason=error.detail)


def _key_of(request: Request) -> str | None:
    values = request.headers.getlist(IDEMPOTENCY_KEY)
    if not values:
        return None
    # As the draft has it the value is a quoted string (RFC 8941 §3.3.3); most clients send it bare.
    key = values[0].strip()
    key = key[1:-1] if len(key) > 1 and key.startswith('"') and key.endswith('"') else key
    if len(values) > 1 or not _KEY.fullmatch(key):
        fault = FieldFault(IDEMPOTENCY_KEY, "one value of 1 to 255 printable ASCII characters")
        raise InvalidRequest(f"the {IDEMPOTENCY_KEY} is none", [fault])
    return key


def _request(call: Call, key: str) -> str:
    operation = call.operation
    parts = [call.caller.tenant, call.caller.client_id, operation.name, sorted(call.request.path_params.items()), key]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _fingerprint(body: bytes) -> str:
    """The same for bodies that say the same: in another order, or with other spaces."""
    try:
        said = json.dumps(json.loads(body or b"{}"), sort_keys=True).encode()
    except (ValueError, RecursionError):
        said = body
    return hashlib.sha256(said).hexdigest()

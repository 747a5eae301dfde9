"""The app as tests call it: what it answers has to be what ``/openapi.json`` says, in every test and on every route."""

import json
from collections.abc import MutableMapping
from functools import cache
from typing import Any

import httpx2
import jsonschema_rs
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

_document: dict[str, Any] = {}
"""Made once: it is the same for every app but for the addresses."""


class Documented:
    """ASGI middleware for tests: an answer that isn't documented is an ``AssertionError`` in the test that got it."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through, then look at the answer."""
        messages: list[Message] = []

        async def look_and_send(message: Message) -> None:
            messages.append(message)
            await send(message)

        await self._app(scope, receive, look_and_send)
        route = scope.get("route")
        # Without a route it is the app that says no: 404, 405. A caller who is gone sees no answer.
        if isinstance(route, Route) and messages:
            if not _document:
                await self._read()
            body = b"".join(message.get("body", b"") for message in messages)
            headers = httpx2.Headers(messages[0]["headers"])
            _check(scope["method"], route.path, messages[0]["status"], headers, body)

    async def _read(self) -> None:
        transport = httpx2.ASGITransport(self._app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://broker") as http:
            _document.update((await http.get("/openapi.json")).json())


def _check(method: str, path: str, status: int, headers: MutableMapping[str, str], body: bytes) -> None:
    if status == 405 or "broker-connection" in headers:
        # The latter is the provider's own answer.
        return
    operation = _document["paths"][path.replace(":path}", "}")][method.lower().replace("head", "get")]
    assert str(status) in operation["responses"], f"{method} {path} answers {status}, which is not documented"
    answer = _resolved(operation["responses"][str(status)])
    for name in answer["headers"]:
        declared = _resolved(answer["headers"][name])
        assert not declared.get("required") or name in headers, f"{method} {path}, {status}: {name} is missing"
    media_type = headers.get("content-type", "").partition(";")[0]
    if method == "HEAD" or not body:
        return
    assert media_type in answer.get("content", ()), f"{method} {path}, {status}: {media_type} is not documented"
    if media_type.endswith("json"):
        schema = json.dumps(answer["content"][media_type]["schema"])
        faults = [
            f"{fault.instance_path}: {fault.message}" for fault in _validator(schema).iter_errors(json.loads(body))
        ]
        assert not faults, f"{method} {path}, {status}: {faults}"


def _resolved(shown: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in shown:
        return shown
    found: Any = _document
    for part in shown["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**json.loads(schema), "components": _document["components"]})

"""Requests as a provider reads them: their fields, the headers it needs, and who asks.

Everything here refuses by raising an ``OAuthError``, whose description says what was expected.
"""

import json
from collections.abc import Collection, Mapping
from urllib.parse import urlencode

from starlette.requests import Request

from broker.sandbox.clients import Client, authenticate
from broker.sandbox.errors import OAuthError
from broker.sandbox.guises.description import Encoding, Needs
from broker.sandbox.parameters import Parameters, read_body, read_form
from broker.sandbox.provider import Provider


async def read_fields(request: Request, encodings: Collection[Encoding]) -> Parameters:
    """The fields of a body in one of ``encodings``."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" and "json" in encodings:
        try:
            document = json.loads(await read_body(request))
        except (ValueError, RecursionError):
            raise OAuthError("invalid_request", "the body is not JSON") from None
        if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
            raise OAuthError("invalid_request", "the body must be a JSON object of texts")
        return Parameters(urlencode(document))
    if "form" not in encodings:
        raise OAuthError("invalid_request", f"the body must be {' or '.join(encodings)}")
    fields = await read_form(request)
    fields.refuse_repeated()
    return fields


def check_headers(request: Request, needs: Needs) -> None:
    """Return if ``request`` has the headers that it has to have."""
    _check(needs, {name: request.headers.get(name) for name in needs}, "header")


def check_fields(fields: Parameters, needs: Needs) -> None:
    """Return if ``fields`` has those that it has to have."""
    _check(needs, {name: fields.get(name) for name in needs}, "parameter")


def _check(needs: Needs, found: Mapping[str, str | None], what: str) -> None:
    for name, expected in needs.items():
        if found[name] is None:
            raise OAuthError("invalid_request", f"the {what} {name} is missing")
        if expected is not None and found[name] != expected:
            raise OAuthError("invalid_request", f"the {what} {name} must be {expected}")


def client_of(provider: Provider, request: Request, fields: Parameters, methods: Collection[str]) -> Client:
    """The app that asks, authenticated by one of ``methods``."""
    authorization = request.headers.get("authorization")
    used = "client_secret_basic" if authorization else "client_secret_post" if fields.get("client_secret") else "none"
    if used not in methods:
        raise OAuthError(
            "invalid_client", f"client authentication must be {' or '.join(methods)}, was {used}", status=401
        )
    if used != "none":
        return authenticate(provider.clients, authorization, fields)
    client = provider.clients.get(fields.require("client_id"))
    if client is None:
        raise OAuthError("invalid_client", "unknown client", status=401)
    return client

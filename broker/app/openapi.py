"""The document of the whole app: the services' faces as they declare themselves, and beside them what no service calls.

Pages and operations are told in less detail than the faces: people read the first, and the second are a convention.
"""

from collections.abc import Iterable
from typing import Final

from starlette.routing import BaseRoute

from broker.downstream.openapi.route import openapi_route
from broker.downstream.operation import PUBLIC, DeclaredRoute, Face, Operation, Text
from broker.errors import (
    Conflict,
    Forbidden,
    InvalidCredentials,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    StoreUnavailable,
    UnsupportedMediaType,
)
from broker.http.described import Absent, Described
from broker.settings import Settings


class Decision(Described):
    """What the person pressed; and, where a credential is handed in, what they typed: ``credentials.NAME`` for each
    part of it, ``parameters.NAME`` for what the session left open."""

    decision: str = "continue"
    """``continue`` or ``cancel``."""


class CodeDecision(Described):
    """The code that the person's machine shows, and what they pressed."""

    user_code: str | Absent = None
    """In any case, with or without its hyphen; without it the form comes again."""
    decision: str | Absent = None
    """``approve`` or ``decline``; without it the person is asked."""


class Alive(Described):
    """The process answers."""

    status: str


class Readiness(Described):
    """Whether requests can be served."""

    status: str
    """``ready``, or ``not_ready``."""
    reasons: list[str] | Absent = None
    """Why not."""


_PAGES: Final = Face(
    name="page",
    takes="application/x-www-form-urlencoded",
    gives="text/html",
    refuses_with="text/html",
    refusal=None,
    always=(InvalidRequest, Forbidden, NotFound, Conflict, RateLimited, StoreUnavailable),
)
_PROBE: Final = Face(
    name="probe",
    takes="",
    gives="application/json",
    refuses_with="application/json",
    refusal=Readiness,
    always=(StoreUnavailable,),
)
_METRICS: Final = Face(name="metrics", takes="", gives="text/plain", refuses_with="text/plain", refusal=None, always=())

_BESIDE: Final = (
    Operation(
        face=_PAGES,
        name="connect_page",
        method="GET",
        path="/connect/{handle}",
        tag="Pages",
        summary="Ask the person whether the app may connect to their account. Changes nothing.",
        answer=Text,
        refuses=(ProviderUnavailable,),
    ),
    Operation(
        face=_PAGES,
        name="answer_connect_page",
        method="POST",
        path="/connect/{handle}",
        tag="Pages",
        summary="Send the browser to the provider, or take what was typed, or the person's no.",
        body=Decision,
        answer=Text,
        redirects=True,
        refuses=(PayloadTooLarge, UnsupportedMediaType, InvalidCredentials, ProviderError, ProviderUnavailable),
    ),
    Operation(
        face=_PAGES,
        name="code_page",
        method="GET",
        path="/connect/{session_id}/code",
        tag="Pages",
        summary="The short code that the person carries back to where they started.",
        answer=Text,
    ),
    Operation(
        face=_PAGES,
        name="callback",
        method="GET",
        path="/callback/{provider}",
        tag="Pages",
        summary="Take the browser back from the provider and send it on.",
        answer=Text,
        redirects=True,
        refuses=(ProviderError, ProviderUnavailable),
    ),
    Operation(
        face=_PAGES,
        name="device_page",
        method="GET",
        path="/device",
        tag="Pages",
        summary="The form for the code that a machine shows; with ?user_code=, who asks for what. Changes nothing.",
        answer=Text,
    ),
    Operation(
        face=_PAGES,
        name="answer_device_page",
        method="POST",
        path="/device",
        tag="Pages",
        summary="Take the code, or the person's decision: their no, or the browser is sent to the provider.",
        body=CodeDecision,
        answer=Text,
        redirects=True,
        refuses=(PayloadTooLarge, UnsupportedMediaType, ProviderError, ProviderUnavailable),
    ),
    Operation(
        face=_PAGES,
        name="device_login_page",
        method="GET",
        path="/device/logins/{handle}",
        tag="Pages",
        summary="The person's own page about a machine that they logged in.",
        answer=Text,
    ),
    Operation(
        face=_PAGES,
        name="end_device_login",
        method="POST",
        path="/device/logins/{handle}",
        tag="Pages",
        summary="Log that machine out.",
        answer=Text,
        refuses=(PayloadTooLarge, UnsupportedMediaType),
    ),
    Operation(
        face=PUBLIC,
        name="livez",
        method="GET",
        path="/livez",
        tag="Operations",
        summary="Whether the process answers.",
        answer=Alive,
    ),
    Operation(
        face=_PROBE,
        name="readyz",
        method="GET",
        path="/readyz",
        tag="Operations",
        summary="Whether the store is reachable, fit for tokens, and known to the keyring; or why not.",
        answer=Readiness,
    ),
    Operation(
        face=_METRICS,
        name="metrics",
        method="GET",
        path="/metrics",
        tag="Operations",
        summary="Metrics in the Prometheus text format.",
        answer=Text,
    ),
)


def document_route(routes: Iterable[BaseRoute], settings: Settings) -> DeclaredRoute:
    """``/openapi.json`` for these routes, and for the pages and operations of this app."""
    declared = [route.operation for route in routes if isinstance(route, DeclaredRoute)]
    return openapi_route([*declared, *_BESIDE], public_url=settings.public_url, issuer=settings.issuer)

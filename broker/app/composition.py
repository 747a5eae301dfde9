"""From settings to the app: faces on top of the heart, and what runs beside the requests."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.routing import Route

from broker.access.authentication import Authenticator
from broker.access.in_use import LOOKED_AT_EVERY
from broker.app.faults import Faults
from broker.app.heart import Heart, build_heart
from broker.app.openapi import document_route
from broker.app.operations import operations_routes
from broker.app.static import static_route
from broker.background.checking import Checking
from broker.background.chores import WhatIsDue, chores
from broker.background.loop import repeat
from broker.background.refreshing import RefreshAhead
from broker.downstream.api.authorization import AuthorizationRoutes
from broker.downstream.api.clients import ClientRoutes
from broker.downstream.api.connect_sessions import ConnectSessionRoutes
from broker.downstream.api.connections import ConnectionRoutes
from broker.downstream.api.device_sessions import DeviceSessionRoutes
from broker.downstream.api.events import EventRoutes
from broker.downstream.api.gate import Gate
from broker.downstream.api.providers import ProviderRoutes
from broker.downstream.api.references import ReferenceRoutes
from broker.downstream.api.repeats import Repeats
from broker.downstream.api.tokens import TokenRoutes
from broker.downstream.oauth import client_credentials, device_code, refresh_token, token_exchange
from broker.downstream.oauth.device_authorization import DeviceAuthorizationEndpoint
from broker.downstream.oauth.endpoint import OAuthEndpoint
from broker.downstream.oauth.introspection import IntrospectionEndpoint
from broker.downstream.oauth.metadata import metadata_routes
from broker.downstream.oauth.revocation import RevocationEndpoint
from broker.downstream.oauth.token import Grant, TokenEndpoint
from broker.downstream.proxy.routes import ProxyRoutes
from broker.errors import StoreUnavailable
from broker.http.front import Front
from broker.observe import logs, steps
from broker.providers import load_providers
from broker.settings import Settings, read_environment
from broker.vault.leadership import Leadership
from broker.web.browser import BrowserBinding
from broker.web.callback import CallbackPages
from broker.web.code import CodePages
from broker.web.connect import ConnectPages
from broker.web.device import DevicePages
from broker.web.device_login import DeviceLoginPages
from broker.web.device_return import DeviceReturns
from broker.web.form import CredentialForms
from broker.web.orderer import Orderers
from broker.web.visitor import Visitors

_WORK_ENDS_WITHIN: Final = 25.0
"""Seconds that refreshes and exchanges under way get to finish when the process ends."""

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> Starlette:
    """The app of one worker process.

    :raises ConfigurationError: the providers file or the encryption keys can't be used, or a fault run is refused.
    """
    logs.configure(settings.log_level, settings.log_format)
    steps.prepare(os.environ, public_url=settings.public_url)
    providers = load_providers(settings.providers_file, read_environment())
    return app_of(build_heart(settings, providers))


def app_of(heart: Heart) -> Starlette:
    """The app on top of a heart that it owns and closes."""

    repeats = Repeats(heart.repeats)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [
            # First, so that it is the first command on the connection: who serves is counted.
            asyncio.create_task(heart.replicas.beat_on(), name="beat"),
            asyncio.create_task(_revalidate(heart.authenticator), name="revalidate broker tokens"),
        ]
        leadership = Leadership(heart.store)
        ahead = RefreshAhead(heart.due, heart.records, heart.refresher, heart.providers, heart.clock)
        checking = Checking(heart.due, heart.records, heart.lifecycle, heart.providers, heart.clock)
        if heart.settings.background_enabled:
            due = WhatIsDue(
                heart.due, heart.revocations, heart.giving_back, heart.directory, heart.devices.life, heart.clock
            )
            tasks += [
                asyncio.create_task(repeat(chore, leadership), name=chore.name)
                for chore in chores(heart.bookkeeping, due, ahead, checking, heart.moving)
            ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(ahead.aclose(), checking.aclose())
            await repeats.drain(_WORK_ENDS_WITHIN)
            await _resign(leadership)
            await heart.aclose(work_ends_within=_WORK_ENDS_WITHIN)

    services = _services_routes(heart, repeats)
    return Front(
        [
            *services,
            document_route(services, heart.settings),
            *_people_routes(heart),
            *operations_routes(heart),
        ],
        last_resort=Faults(),
        trusted_proxies=heart.settings.trusted_proxies,
        lifespan=lifespan,
    )


def _services_routes(heart: Heart, repeats: Repeats) -> list[Route]:
    gate = Gate(heart.authenticator, heart.records, repeats.answer, heart.clock)
    endpoint = OAuthEndpoint(heart.authenticator, heart.clock)
    grants: dict[str, Grant] = {
        client_credentials.GRANT_TYPE: client_credentials.ClientCredentialsGrant(heart.broker_tokens),
        token_exchange.GRANT_TYPE: token_exchange.TokenExchangeGrant(heart.tokens, heart.authenticator),
        device_code.GRANT_TYPE: device_code.DeviceCodeGrant(heart.devices.polls, heart.devices.sessions, heart.limits),
        refresh_token.GRANT_TYPE: refresh_token.RefreshTokenGrant(heart.devices.sessions, heart.limits),
    }
    issuer, devices = heart.settings.issuer, heart.devices
    return [
        *TokenRoutes(gate, heart.tokens).routes(),
        *TokenEndpoint(endpoint, grants).routes(),
        *AuthorizationRoutes(gate, heart.api_calls).routes(),
        *ProxyRoutes(gate, heart.api_calls, heart.settings.public_url).routes(),
        *ReferenceRoutes(gate, heart.references, heart.tokens).routes(),
        *ConnectSessionRoutes(
            gate,
            heart.opening,
            heart.completions,
            heart.clients,
            heart.references,
            heart.records,
            heart.providers,
            heart.settings.public_url,
        ).routes(),
        *ConnectionRoutes(
            gate, heart.intake, heart.changes, heart.lifecycle, heart.directory, heart.providers
        ).routes(),
        *DeviceSessionRoutes(gate, devices.life).routes(),
        *EventRoutes(gate, heart.journal, heart.bookkeeping).routes(),
        *ProviderRoutes(gate, heart.providers, heart.settings.public_url).routes(),
        *ClientRoutes(gate, heart.clients, heart.providers).routes(),
        *DeviceAuthorizationEndpoint(endpoint, devices.requests, heart.limits, heart.providers).routes(),
        *IntrospectionEndpoint(endpoint, heart.broker_tokens, heart.references, devices.sessions, issuer).routes(),
        *RevocationEndpoint(
            endpoint, heart.authenticator, heart.broker_tokens, heart.references, devices.sessions, heart.limits
        ).routes(),
        *metadata_routes(issuer, grants),
    ]


def _people_routes(heart: Heart) -> list[Route]:
    binding = BrowserBinding(heart.keyring, secure=heart.settings.secure, origin=heart.settings.origin)
    orderers = Orderers(heart.clients, heart.journey)
    codes = CodePages(heart.opening, heart.arrivals, heart.providers, binding, heart.limits)
    approvals = heart.devices.approvals
    returns = DeviceReturns(approvals)
    forms = CredentialForms(heart.submissions, heart.completions, returns, binding, heart.limits)
    visitors = Visitors(heart.keyring, secure=heart.settings.secure)
    return [
        *ConnectPages(heart.opening, heart.journey, forms, returns, orderers, binding, heart.limits).routes(),
        *CallbackPages(heart.arrivals, heart.completions, codes, returns, orderers, binding, heart.limits).routes(),
        *codes.routes(),
        *DevicePages(approvals, orderers, binding, visitors, heart.limits, heart.clock).routes(),
        *DeviceLoginPages(
            heart.devices.managed, heart.records, heart.clients, heart.providers, binding, heart.limits, heart.clock
        ).routes(),
        static_route("/static", str(files("broker.web") / "static")),
    ]


async def _revalidate(authenticator: Authenticator) -> None:
    while True:
        await asyncio.sleep(LOOKED_AT_EVERY)
        try:
            await authenticator.revalidate()
        except Exception:
            # What is remembered runs out by itself within seconds; the loop must not end.
            log.exception("authentication.revalidation_failed")


async def _resign(leadership: Leadership) -> None:
    try:
        await leadership.resign()
    except StoreUnavailable:
        log.info("leadership.not_resigned", reason="the store is gone; the lead runs out by itself")

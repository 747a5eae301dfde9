"""The checks of ``broker doctor``: each says how something stands, and what to do where it doesn't."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, Field

from broker.app.heart import Heart
from broker.cli.providers_check import CheckedProvider, ask_issuers, lacks
from broker.cli.session import heart_for_command
from broker.errors import BrokerError, ConfigurationError, StoreUnavailable
from broker.observe.sink import Sink
from broker.providers import Registry, load_providers
from broker.settings import Settings
from broker.settings.store_address import parse_store_address
from broker.upstream.endpoints import needs_discovery
from broker.vault.opening import reasons_not_ready
from broker.vault.redis.data_dir import holds_store, is_private, socket_path
from broker.vault.redis.fitness import memory_of, parse_info

_ANSWERS_WITHIN: Final = 3.0
_FULL_SOON: Final = 0.8
"""Of its limit."""
_CLOCKS_APART_AT_MOST: Final = 2.0
"""Seconds; expiry and leases are judged by the clocks of several machines."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Check(BaseModel):
    """One finding. ``advice``: what to do about it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    advice: str | None = None
    not_set_up: str | None = Field(default=None, exclude=True)
    """The provider this is about, where none of its variables is set: nobody asked for it yet."""


def of_faults(name: str, error: ConfigurationError) -> Iterator[Check]:
    """A failure for each fault of a configuration."""
    for fault in error.faults:
        yield Check(name=name, status="fail", message=fault)


def of_providers(settings: Settings, providers: Registry) -> Iterator[Check]:
    """What is ready, what the rest lacks, and what is to be registered at each provider."""
    ready = sum(provider.ready for provider in providers)
    yield Check(
        name="providers file",
        status="ok" if ready else "warn",
        message=f"{settings.providers_file}: {ready} of {len(providers)} providers ready",
    )
    untouched = _untouched(settings, providers)
    discovered = _discovered(settings, providers)
    for provider in providers:
        missing, todo = lacks(provider), []
        found = discovered.get(provider.name)
        if provider.missing_variables:
            todo.append("set it in the environment or in .env, and restart the broker")
        elif missing:
            todo.append(f"write it into its entry in {settings.providers_file}, and restart the broker")
        if found and found.problem:
            todo.append(f"issuer in {settings.providers_file}: {provider.issuer}")
        if "authorization_code" in provider.grant_types:
            manual = f" ({provider.documentation})" if provider.documentation else ""
            todo.append(f"redirect URI to register there{manual}: {provider.redirect_uri(settings.public_url)}")
        yield Check(
            name=f"provider {provider.name}",
            status="warn" if missing else _status(found),
            message=missing or (found and found.problem) or "ready",
            advice="; ".join(todo) or None,
            not_set_up=provider.name if provider.name in untouched else None,
        )


def of_addresses(settings: Settings) -> Check:
    """Whether who follows the public URL can come to where the broker listens."""
    public = urlsplit(settings.public_url)
    listens = f"{settings.host}:{settings.port}"
    message = f"browsers and services use {settings.public_url}, the broker listens on {listens}"
    name = "public address"
    if public.hostname not in _LOOPBACK:
        return Check(name=name, status="ok", message=message, advice=f"a TLS proxy has to forward there: to {listens}")
    public_port = public.port or (443 if public.scheme == "https" else 80)
    if public_port != settings.port:
        advice = "unset BROKER_PUBLIC_URL, or let BROKER_PORT agree with it, unless something forwards"
        return Check(name=name, status="warn", message=message, advice=advice)
    if settings.host not in _LOOPBACK:
        advice = "other machines can come in but can't use that URL: set BROKER_PUBLIC_URL, or leave BROKER_HOST alone"
        return Check(name=name, status="warn", message=message, advice=advice)
    return Check(name=name, status="ok", message=message)


def of_data_dir(settings: Settings) -> Check:
    """Whether the embedded store's folder is there, and closed to others."""
    name = "data directory"
    if settings.redis_url is not None:
        return Check(name=name, status="ok", message="not used with an external store")
    place = settings.data_dir
    try:
        if not place.exists():
            return Check(name=name, status="ok", message=f"{place} is not there yet", advice="broker serve makes it")
        if is_private(place):
            return Check(name=name, status="ok", message=f"{place} is open to this user alone")
    except (ConfigurationError, PermissionError) as error:
        return Check(name=name, status="fail", message=str(error))
    advice = f"broker serve closes it, and so does: chmod 700 {place}"
    return Check(name=name, status="warn", message=f"{place} is open to other users", advice=advice)


def of_events_sink(settings: Settings) -> Check:
    """Whether audit events can also be written where they are to be; no line is."""
    name, sink = "events sink", settings.events_sink
    obstacle = Sink(sink).obstacle()
    if obstacle is None:
        return Check(name=name, status="ok", message="none: events are kept in the store" if sink == "none" else sink)
    advice = "until a broker can write it, events wait in the store, and GET /v1/events answers 503: docs/operations.md"
    return Check(name=name, status="warn", message=f"{sink} can't be written: {obstacle}", advice=advice)


async def of_store(settings: Settings, providers: Registry) -> list[Check]:
    """Whether the store can be reached, is fit for tokens, and knows the keyring; and whose clock is wrong."""
    unopened = _of_unopened(settings) if settings.redis_url is None else None
    if unopened is not None:
        return [unopened]
    try:
        async with heart_for_command(settings, providers) as heart:
            reasons = await reasons_not_ready(heart.store, wait_replicas=settings.store_wait_replicas)
            if not reasons:
                return [*_of_fit_store(heart), await _of_memory(heart), await _of_time(heart)]
    except BrokerError as error:
        reasons = error.detail.splitlines()
    advice = _store_advice(settings)
    return [Check(name="store", status="fail", message=reason, advice=advice) for reason in reasons]


def _of_unopened(settings: Settings) -> Check | None:
    """The embedded store where opening it would do more than look: make it, or close its folder. Else ``None``."""
    try:
        if not holds_store(settings.data_dir):
            return Check(name="store", status="ok", message="embedded, none yet", advice="broker serve makes it")
        if is_private(settings.data_dir):
            return None
    except (ConfigurationError, PermissionError):
        pass
    return Check(name="store", status="warn", message="not looked at: see the data directory")


def of_listening(settings: Settings) -> Check:
    """Whether a broker answers at the public URL; if none does, whether one could listen."""
    name = "running broker"
    answer = _asked(f"{settings.public_url}/readyz")
    if answer is None:
        return _of_port(settings, name)
    status = answer.get("status")
    if status == "ready":
        message = f"answers at {settings.public_url} and is ready"
        advice = "a change of .env or providers.yaml takes effect when it is restarted"
        return Check(name=name, status="ok", message=message, advice=advice)
    if status == "not_ready":
        reasons = answer.get("reasons")
        why = "; ".join(map(str, reasons)) if isinstance(reasons, list) else "it doesn't say why"
        return Check(name=name, status="fail", message=f"answers at {settings.public_url} but is not ready: {why}")
    message = f"what answers at {settings.public_url} is not a broker"
    return Check(name=name, status="fail", message=message, advice="end it, or choose another BROKER_PORT")


def _discovered(settings: Settings, providers: Registry) -> dict[str, CheckedProvider]:
    """What the issuers answer who have to be asked before anybody can be sent to them."""
    # As patient as a person who waits for this command.
    asked = [
        provider.model_copy(update={"timeout": min(provider.timeout, _ANSWERS_WITHIN)})
        for provider in providers
        if provider.ready and needs_discovery(provider)
    ]
    return {found.name: found for found in asyncio.run(ask_issuers(settings, asked))}


def _status(found: CheckedProvider | None) -> Literal["ok", "warn", "fail"]:
    if found is None or found.usable:
        return "ok"
    return "fail" if found.to_be_mended else "warn"


def _untouched(settings: Settings, providers: Registry) -> frozenset[str]:
    """The names of the providers that lack every variable they need."""
    try:
        # What is missing where nothing is set is all that they need.
        bare = load_providers(settings.providers_file, {})
    except ConfigurationError:
        # A default that a variable overrides is at fault.
        return frozenset()
    return frozenset(
        provider.name
        for provider in providers
        if provider.missing_variables and provider.missing_variables == bare.get(provider.name).missing_variables
    )


def _store_advice(settings: Settings) -> str:
    if settings.redis_url is None:
        return f"expected at {socket_path(settings.data_dir)}; its log is {settings.data_dir / 'store.log'}"
    address = parse_store_address(settings.redis_url.get_secret_value())
    if address.kind == "sentinel":
        return (
            f"found through {address.place}: see which primary they name for {address.service}, and whether it is fit"
        )
    place = address.place
    return f"expected at {place}: start it there, or see that BROKER_REDIS_URL and BROKER_ENCRYPTION_KEYS belong to it"


def _of_fit_store(heart: Heart) -> Iterator[Check]:
    settings = heart.settings
    which = f"embedded, in {settings.data_dir}" if settings.redis_url is None else "external"
    yield Check(name="store", status="ok", message=f"{which}: reachable, keeps an append-only file, evicts nothing")
    keys = len(heart.keyring.fingerprints())
    message = f"{keys} key{'s' * (keys > 1)}, fit for what the store holds; {heart.keyring.writer} writes"
    yield Check(name="encryption keys", status="ok", message=message)


async def _of_memory(heart: Heart) -> Check:
    """How full the store is; of several servers, the fullest.

    :raises StoreUnavailable: one of them can't be asked any more.
    """
    name = "store memory"
    memories = []
    for info in (await heart.store.infos()).values():
        if isinstance(info, StoreUnavailable):
            raise info  # it was there a moment ago
        memories.append(memory_of(parse_info(info)))
    unlimited = [memory.used for memory in memories if memory.limit is None]
    if unlimited:
        message = f"{_megabytes(max(unlimited))} used, and no limit set"
        if heart.settings.redis_url is None:
            return Check(name=name, status="ok", message=message)
        advice = "set maxmemory (docs/operations.md): a system that runs out of memory ends the store"
        return Check(name=name, status="warn", message=message, advice=advice)
    share, used, limit = max((used / limit, used, limit) for used, limit in memories if limit is not None)
    message = f"{_megabytes(used)} of {_megabytes(limit)} used"
    if share < _FULL_SOON:
        return Check(name=name, status="ok", message=message)
    advice = "raise maxmemory, or keep events for less time (BROKER_EVENTS_RETENTION): docs/operations.md"
    if share < 1:
        return Check(name=name, status="warn", message=message, advice=advice)
    return Check(name=name, status="fail", message=f"{message}: no token can be released", advice=advice)


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"


async def _of_time(heart: Heart) -> Check:
    asked = time.time()
    seconds, microseconds = map(int, await heart.store.execute("TIME"))
    apart = abs(seconds + microseconds / 1_000_000 - (asked + time.time()) / 2)
    message = f"this machine's clock and the store's are {apart:.1f} s apart"
    if apart <= _CLOCKS_APART_AT_MOST:
        return Check(name="time", status="ok", message=message)
    return Check(name="time", status="fail", message=message, advice="synchronise both machines (NTP)")


def _asked(url: str) -> dict[str, object] | None:
    """The JSON object that ``url`` answers; empty if it is something else, ``None`` if nothing answers."""
    try:
        answer = httpx2.get(url, timeout=_ANSWERS_WITHIN, trust_env=False)
    except httpx2.TransportError:
        return None
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _of_port(settings: Settings, name: str) -> Check:
    place = f"{settings.host}:{settings.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        socket.create_server((str(address[0]), settings.port), family=family).close()
    except OSError as error:
        advice = "choose another BROKER_PORT, or end what listens there"
        message = f"nothing answers at {settings.public_url}, and {place} can't be listened on: {error.strerror}"
        return Check(name=name, status="fail", message=message, advice=advice)
    return Check(name=name, status="ok", message=f"none yet; {place} is free", advice="start it with: broker serve")

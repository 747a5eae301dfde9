"""Opening a connect session, and looking at one.

A session passes these steps, each atomic in the store, each with its own proof of who takes it:

====================  =======================  ============================================================
step                  from → to                proof
====================  =======================  ============================================================
``Opening.open``      – → pending              an authenticated client
``Journey.depart``    pending → authorizing    the secret link; binds the browser that presses the button
``Arrivals.arrive``   authorizing → awaiting   that browser's secret, ``state``, the path, ``iss``
``Completion``        awaiting → completed     the client, the completion code, and its signed-in subject
====================  =======================  ============================================================

Where a person hands a credential in on our page, ``Submissions.submit`` stands in the place of the second and third.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from broker.clock import Clock
from broker.errors import Conflict, FieldFault, InvalidRequest, NotFound
from broker.models.connection import Connection
from broker.models.ids import bearing_secret, digest, is_id, owner_of
from broker.models.session import Completion, ConnectSession
from broker.providers import Provider, Registry
from broker.upstream.parameters import check_parameters, check_scopes
from broker.vault.sessions import Sessions

LINK_LIFETIME: Final = 1_800_000
"""How long a connect link can be opened, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client orders: a connection of ``subject`` at ``provider``."""

    tenant: str
    client_id: str
    client_name: str
    provider: Provider
    subject: str
    completion: Completion
    subject_name: str | None
    scopes: Sequence[str]
    """Provider scopes; empty = the provider's default scopes."""
    parameters: Mapping[str, str]
    return_url: str | None
    state: str | None = field(repr=False)
    label: str | None
    metadata: Mapping[str, Any]
    renews: Connection | None
    allow_account_change: bool
    session_id: str
    """Where a session with this id was opened before, and nobody got its link, that one gives way."""
    connection_id: str | None = None
    """Of the connection to make, where its id was drawn before."""
    device_authorization: str | None = None
    """What it is for (completion ``device``)."""


class Opening:
    """Opens connect sessions and finds them again."""

    def __init__(self, sessions: Sessions, providers: Registry, clock: Clock) -> None:
        self._sessions = sessions
        self._providers = providers
        self._clock = clock

    async def open(self, order: Order) -> tuple[ConnectSession, str]:
        """A new session, and the handle: the secret part of its connect link.

        :raises InvalidRequest: naming the fields that are wrong.
        :raises Conflict: the provider lacks settings, or a person can't connect it.
        """
        provider = order.provider
        if not provider.ready:
            raise Conflict(f"the provider is not ready: {', '.join(provider.missing)} missing")
        by_form = check_connects(provider) == "form"
        inherited = order.renews.parameters if order.renews else {}
        if order.renews and not order.allow_account_change:
            # The same account id at another subdomain or realm is another account.
            changed = [name for name, value in order.parameters.items() if inherited.get(name) != value]
            if changed:
                faults = [
                    FieldFault(f"parameters.{name}", "not the one of the connection to renew") for name in changed
                ]
                raise InvalidRequest("other parameters could lead to another account (allow_account_change)", faults)
        # What a form leaves open, its person fills in.
        parameters = check_parameters(provider, {**inherited, **order.parameters}, all_of_them=not by_form)
        session_id = order.session_id
        handle = bearing_secret("ch", session_id)
        now = self._clock()
        session = ConnectSession(
            id=session_id,
            tenant=order.tenant,
            client_id=order.client_id,
            client_name=order.client_name,
            provider=provider.name,
            subject=order.subject,
            completion=order.completion,
            scopes=_scopes(order),
            created_at=now,
            expires_at=now + LINK_LIFETIME,
            handle_digest=digest(handle),
            subject_name=order.subject_name,
            parameters=parameters,
            return_url=order.return_url,
            state=order.state,
            connection_id=order.renews.id if order.renews else order.connection_id,
            reconnect=order.renews is not None,
            allow_account_change=order.allow_account_change,
            label=order.label,
            metadata=order.metadata,
            device_authorization=order.device_authorization,
        )
        await self._sessions.create(session)
        return session, handle

    async def read(self, session_id: str) -> ConnectSession | None:
        """The session with this id, or ``None``."""
        return await self._sessions.read(session_id) if is_id("cs", session_id) else None

    async def by_handle(self, handle: str) -> tuple[ConnectSession, Provider]:
        """The session that a connect link leads to, and its provider.

        :raises NotFound: the link leads nowhere (any longer).
        """
        session_id = owner_of("ch", "cs", handle)
        session = await self._sessions.read(session_id) if session_id else None
        if session is None or not hmac.compare_digest(session.handle_digest, digest(handle)):
            raise NotFound("this link is not valid, or not any longer")
        return session, self._providers.get(session.provider)


def check_connects(provider: Provider) -> Literal["redirect", "form"]:
    """How a person connects an account of ``provider`` in a browser.

    :raises Conflict: they can't.
    """
    if provider.connects_by is None and provider.type == "oauth2":
        raise Conflict("the provider has no authorization code grant to connect with")
    if provider.connects_by is None:
        raise Conflict("connections of this provider are made by services, not by a person in a browser")
    return provider.connects_by


def _scopes(order: Order) -> tuple[str, ...]:
    provider = order.provider
    inherited = order.renews.requested_scopes if order.renews else ()
    scopes = tuple(dict.fromkeys(order.scopes or inherited or provider.default_scopes))
    check_scopes(provider, scopes)
    return scopes

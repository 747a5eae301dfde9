"""Registered clients: making, reading and listing them, giving them new secrets, deleting them."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import structlog
from pydantic import TypeAdapter

from broker.access.registration import checked, checked_keys
from broker.clock import Clock
from broker.errors import Conflict, FieldFault, InvalidRequest, NotFound
from broker.models.access import CLIENT_SCOPES, DEFAULT_TENANT, Client, Workload
from broker.models.event import Event
from broker.models.ids import digest, is_id, new_id, new_secret
from broker.vault.documents import Document, Documents
from broker.vault.stored import UNREADABLE

OVERLAP: Final = 86_400
"""Seconds that a replaced secret still works, unless said otherwise."""
LONGEST_OVERLAP: Final = 30 * 86_400

SECRETS_AT_MOST: Final = 5
"""Secrets of one client that work at the same time."""
_TRIES: Final = 8
_FORM: Final = TypeAdapter(Client)
"""Refuses values of another type, and passes over what this version does not know."""
_NOBODYS: Final = json.dumps(
    asdict(
        Client(
            client_id=new_id("cl"),
            name="nobody",
            tenant=DEFAULT_TENANT,
            scopes=CLIENT_SCOPES,
            providers=None,
            secret_digests=(digest("nobody's secret"),),
            return_urls=("https://nobody.example/connected",),
            completions=(),
            created_at=0,
        )
    )
)
"""A client as it is stored."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes a client: another client, in one request of its own, or nobody but the operator."""

    client_id: str | None = None
    request_id: str | None = None


_OPERATOR: Final = Actor()


@dataclass(frozen=True, slots=True)
class Rotation:
    """A secret that was just made in another one's place: the only time it is known in the clear."""

    client_id: str
    secret: str = field(repr=False)
    previous_ends_at: int | None
    """When the replaced one stops working (ms); ``None``: it has."""


class Clients:
    """The clients of this broker."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._listeners: list[Callable[[str], None]] = []
        self._damaged: set[str] = set()
        """Clients of which that was said."""

    def tell(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the id of each client that this process changes or deletes, when that is done."""
        self._listeners.append(listener)

    async def create(
        self,
        name: str,
        *,
        scopes: Collection[str],
        tenant: str = DEFAULT_TENANT,
        return_urls: Sequence[str] = (),
        providers: Sequence[str] | None = None,
        known_providers: Collection[str] | None = None,
        completions: Sequence[str] = (),
        jwks: Mapping[str, Any] | None = None,
        jwks_uri: str | None = None,
        workloads: Sequence[Workload] = (),
        device: bool = False,
        public: bool = False,
        allow: Sequence[str] | None = None,
        client_id: str | None = None,
        by: Actor = _OPERATOR,
    ) -> tuple[Client, str]:
        """Register a client; answers it and its secret, which is not stored and can't be shown again.

        One with keys or workloads, and a public one, gets no secret (``""``): what does not exist can't leak.

        :param providers: the providers it may use; ``None`` = all.
        :param known_providers: what ``providers`` is checked against; ``None`` = not checked.
        :param jwks: its public keys (RFC 7517 §5).
        :param jwks_uri: where they are published instead.
        :param workloads: whose platform tokens stand for it.
        :param device: whether machines may log in through it (RFC 8628).
        :param public: it can't keep a secret.
        :param allow: the only requests to providers' APIs that it may make; ``None`` = every request.
        :param client_id: one that was drawn for it before; whatever was registered under it gives way.
        :raises InvalidRequest: naming every field that is wrong.
        """
        proven_otherwise = jwks is not None or jwks_uri is not None or workloads
        secret = "" if proven_otherwise or public else new_secret("bcs")
        client = checked(
            Client(
                client_id=client_id or new_id("cl"),
                name=name,
                tenant=tenant,
                scopes=tuple(scopes),
                providers=None if providers is None else tuple(sorted(set(providers))),
                secret_digests=(digest(secret),) if secret else (),
                return_urls=tuple(dict.fromkeys(return_urls)),
                completions=tuple(completions),
                created_at=self._clock(),
                jwks=jwks,
                jwks_uri=jwks_uri,
                workloads=tuple(workloads),
                device=device,
                public=public,
                allow=None if allow is None else tuple(dict.fromkeys(allow)),
            ),
            known_providers,
        )
        client = replace(client, scopes=tuple(scope for scope in CLIENT_SCOPES if scope in scopes))
        event = self._event("client.created", client, by)
        await self._documents.put_client(client.client_id, asdict(client), event)
        self._changed(client.client_id)
        return client, secret

    async def read(self, client_id: str) -> Client | None:
        """The client, or ``None``. A stored client without a tenant is nobody's and is not answered.

        Neither is one whose document is damaged: it is as good as deleted until somebody mends it.
        """
        text = await self._documents.client(client_id) if is_id("cl", client_id) else None
        # Nobody's is read as well: how long it takes must not tell who is there.
        client = self._read(client_id, _NOBODYS if text is None else text)[1]
        return None if text is None else client

    async def list(self, tenant: str | None = None) -> "list[Client]":
        """All clients, or those of one tenant, newest first."""
        clients = [await self.read(client_id) for client_id in await self._documents.clients()]
        found = [client for client in clients if client and (tenant is None or client.tenant == tenant)]
        return sorted(found, key=lambda client: client.created_at, reverse=True)

    async def rotate(self, client_id: str, *, overlap: int = OVERLAP, by: Actor = _OPERATOR) -> Rotation:
        """Give the client a new secret. The present one works for ``overlap`` seconds more, older ones to their end.

        Without an overlap no other secret works any more, and as one may have leaked, all broker tokens of the client
        stop, too.

        :raises InvalidRequest: the overlap is none.
        :raises NotFound: there is no such client.
        :raises Conflict: it has no secret that could be replaced, or too many that still work.
        """
        if not 0 <= overlap <= LONGEST_OVERLAP:
            fault = FieldFault("overlap", f"0 to {LONGEST_OVERLAP} seconds")
            raise InvalidRequest("the secret can't be replaced", [fault])
        now, secret = self._clock(), new_secret("bcs")
        ends_at = now + overlap * 1000 if overlap else None

        def renewed(client: Client) -> Client:
            if not client.secret_digests:
                raise Conflict("the client has no secret: it proves itself with keys, by its platform, or not at all")
            if ends_at is None:
                alone = replace(client, secret_digests=(digest(secret),), secret_ends={})
                return _without_tokens(alone, now)
            # Earlier ones keep their end: the answer to the last rotation may have been lost, and its secret with it.
            ends = {client.secret_digests[0]: ends_at} | dict(client.secret_ends)
            left = [old for old in client.secret_digests if ends.get(old, ends_at) > now]
            if len(left) >= SECRETS_AT_MOST:
                raise Conflict(f"{SECRETS_AT_MOST} secrets work already; let one end, or end all with an overlap of 0")
            ending = {old: ends.get(old, ends_at) for old in left}
            return replace(client, secret_digests=(digest(secret), *left), secret_ends=ending)

        await self._change(client_id, renewed, "client.rotated", by, overlap=overlap)
        return Rotation(client_id, secret, ends_at)

    async def replace_keys(
        self, client_id: str, jwks: Mapping[str, Any], *, end_tokens: bool = False, by: Actor = _OPERATOR
    ) -> Client:
        """Register these public keys in place of the client's present ones, which stop working at once; for a client
        without keys of its own, in place of those of its platform.

        :param end_tokens: a private key may have leaked: all broker tokens of the client stop, too.
        :raises InvalidRequest: they are none that can be registered.
        :raises NotFound: there is no such client.
        :raises Conflict: it was registered with no keys, or with those of several platforms.
        """
        now = self._clock()
        keys, faults = checked_keys(jwks, "jwks")
        if faults:
            raise InvalidRequest("the keys can't be registered", faults)

        def renewed(client: Client) -> Client:
            moved = _with_keys(client, keys)
            return _without_tokens(moved, now) if end_tokens else moved

        return await self._change(client_id, renewed, "client.rotated", by)

    async def end_tokens(self, client_id: str, *, by: Actor = _OPERATOR) -> None:
        """End all broker tokens that the client has got: what proved it may have leaked.

        :raises NotFound: there is no such client.
        """
        now = self._clock()
        await self._change(client_id, lambda client: _without_tokens(client, now), "client.tokens_ended", by)

    async def delete(self, client_id: str, *, by: Actor = _OPERATOR) -> None:
        """Remove a client; its broker tokens stop working within seconds, its connections stay.

        :raises NotFound: there is none.
        """
        client = await self.read(client_id)
        # One whose document is damaged is of no tenant that could be told.
        event = None if client is None else self._event("client.deleted", client, by)
        if not await self._documents.delete_client(client_id, event):
            raise NotFound("no such client")
        self._changed(client_id)

    async def _change(
        self, client_id: str, change: Callable[[Client], Client], event_type: str, by: Actor, **data: object
    ) -> Client:
        """The client as it stands after ``change``, which is repeated if somebody else's came in between."""
        for _ in range(_TRIES):
            text = await self._documents.client(client_id) if is_id("cl", client_id) else None
            document, client = self._read(client_id, text) if text is not None else ({}, None)
            if text is None or client is None:
                raise NotFound("no such client")
            changed = change(client)
            # What another version wrote beside the fields of this one stays.
            event = self._event(event_type, changed, by, **data)
            if await self._documents.replace_client(client_id, text, {**document, **asdict(changed)}, event):
                self._changed(client_id)
                return changed
        raise Conflict("the client is being changed by others; try again")

    def _read(self, client_id: str, text: str | bytes) -> tuple[Document, Client | None]:
        try:
            document: Document = json.loads(text)
            client = _client_of(document)
        except UNREADABLE:
            if client_id not in self._damaged:
                log.error("client.damaged", client_id=client_id)
                self._damaged.add(client_id)
            return {}, None
        self._damaged.discard(client_id)
        return document, client

    def _changed(self, client_id: str) -> None:
        for listener in self._listeners:
            listener(client_id)

    def _event(self, event_type: str, client: Client, by: Actor, **data: object) -> Event:
        return Event(
            type=event_type,
            tenant=client.tenant,
            at=self._clock(),
            client_id=by.client_id,
            request_id=by.request_id,
            data={"client": client.client_id, "name": client.name, **data},
        )


def _with_keys(client: Client, keys: Mapping[str, Any] | None) -> Client:
    if client.jwks is not None:
        return replace(client, jwks=keys)
    issuers = {workload.issuer for workload in client.workloads if workload.jwks is not None}
    if len(issuers) != 1:
        raise Conflict("the client was registered with no keys that stand here, or with those of several platforms")
    workloads = [w if w.jwks is None else replace(w, jwks=keys) for w in client.workloads]
    return replace(client, workloads=tuple(workloads))


def _without_tokens(client: Client, now: int) -> Client:
    """The client, with every broker token ended that it has got so far."""
    return replace(client, tokens_from=max(now, client.tokens_from + 1))


def _client_of(document: Document) -> Client | None:
    if not document.get("tenant"):
        return None
    lists = {"scopes", "secret_digests", "return_urls", "completions"}
    fields: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in document.items()}
    fields["providers"] = None if document["providers"] is None else tuple(document["providers"])
    fields["allow"] = None if document.get("allow") is None else tuple(document["allow"])
    fields["workloads"] = tuple(document.get("workloads", ()))
    return _FORM.validate_python(fields)

"""Registered clients: making, reading, listing and deleting them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

from broker.clock import Clock
from broker.errors import FieldFault, InvalidRequest, NotFound
from broker.models.access import CLIENT_SCOPES, DEFAULT_TENANT, Client, Workload
from broker.models.ids import digest, is_id, new_id, new_secret
from broker.vault.documents import Documents
from broker.vault.stored import made_from

_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME_LENGTH: Final = 100
_PRINTABLE_ASCII: Final = frozenset(map(chr, range(0x21, 0x7F)))


class Clients:
    """The clients of this broker."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

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
    ) -> tuple[Client, str]:
        """Register a client; answers it and its secret, which is not stored and can't be shown again.

        :param providers: the providers it may use; ``None`` = all.
        :param known_providers: what ``providers`` is checked against; ``None`` = not checked.
        :raises InvalidRequest: naming every field that is wrong.
        """
        faults = [
            *_name_faults("name", name),
            *_name_faults("tenant", tenant),
            *_scope_faults(scopes),
            *(fault for url in return_urls for fault in _return_url_faults(url)),
        ]
        unknown = set(providers or ()) - set(known_providers if known_providers is not None else providers or ())
        faults += [FieldFault("provider", f"{provider!r} is not in the providers file") for provider in sorted(unknown)]
        if set(completions) - {"browser"}:
            faults.append(FieldFault("completion", "only 'browser' has to be registered"))
        if faults:
            raise InvalidRequest("the client can't be registered", faults)
        secret = new_secret("bcs")
        client = Client(
            client_id=new_id("cl"),
            name=name,
            tenant=tenant,
            scopes=tuple(scope for scope in CLIENT_SCOPES if scope in scopes),
            providers=None if providers is None else tuple(sorted(set(providers))),
            secret_digests=(digest(secret),),
            return_urls=tuple(dict.fromkeys(return_urls)),
            completions=tuple(completions),
            created_at=self._clock(),
        )
        await self._documents.put_client(client.client_id, asdict(client))
        return client, secret

    async def read(self, client_id: str) -> Client | None:
        """The client, or ``None``. A stored client without a tenant is nobody's and is not answered."""
        if not is_id("cl", client_id):
            return None
        document = await self._documents.client(client_id)
        if document is None or not document.get("tenant"):
            return None
        lists = {"scopes", "secret_digests", "return_urls", "completions"}
        fields: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in document.items()}
        fields["providers"] = None if document["providers"] is None else tuple(document["providers"])
        fields["workloads"] = tuple(made_from(Workload, workload) for workload in document.get("workloads", ()))
        return made_from(Client, fields)

    async def list(self, tenant: str | None = None) -> "list[Client]":
        """All clients, or those of one tenant, newest first."""
        clients = [await self.read(client_id) for client_id in await self._documents.clients()]
        found = [client for client in clients if client and (tenant is None or client.tenant == tenant)]
        return sorted(found, key=lambda client: client.created_at, reverse=True)

    async def delete(self, client_id: str) -> None:
        """Remove a client; its broker tokens stop working within seconds, its connections stay.

        :raises NotFound: there is none.
        """
        if not await self._documents.delete_client(client_id):
            raise NotFound("no such client")


def matches_return_url(registered: str, requested: str) -> bool:
    """Whether ``requested`` is the registered return address: the same, character by character (RFC 9700 §4.1.3).

    The one exception is the port of an http loopback address registered without one (RFC 8252 §7.3).
    """
    if registered == requested:
        return True
    known = urlsplit(registered)
    if known.scheme != "http" or known.hostname not in _LOOPBACK_HOSTS or known.netloc != _host_of(known.netloc):
        return False
    head, tail = f"http://{known.netloc}:", registered.removeprefix(f"http://{known.netloc}")
    if not requested.startswith(head) or not requested.endswith(tail):
        return False
    port = requested[len(head) : len(requested) - len(tail)]
    return port.isascii() and port.isdigit() and 0 < int(port) < 65536 and not port.startswith("0")


def _host_of(netloc: str) -> str:
    return netloc if netloc.startswith("[") and netloc.endswith("]") else netloc.partition(":")[0]


def _name_faults(field: str, value: str) -> list[FieldFault]:
    if 0 < len(value) <= _NAME_LENGTH and value.isprintable() and value.strip() == value:
        return []
    return [FieldFault(field, f"1 to {_NAME_LENGTH} printable characters, no space at either end")]


def _scope_faults(scopes: Collection[str]) -> list[FieldFault]:
    unknown = sorted(set(scopes) - set(CLIENT_SCOPES))
    faults = [FieldFault("scope", f"{scope!r} is none of {', '.join(CLIENT_SCOPES)}") for scope in unknown]
    return faults if scopes else [FieldFault("scope", "at least one is needed")]


def _return_url_faults(url: str) -> list[FieldFault]:
    def fault(message: str) -> list[FieldFault]:
        return [FieldFault("return_url", message)]

    if not url or set(url) - _PRINTABLE_ASCII or "\\" in url:
        return fault("an absolute https address in printable ASCII is needed")
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return fault("not an address")
    if not parts.hostname or not port_is_fine or "@" in parts.netloc or "#" in url:
        return fault("an absolute address without user and fragment is needed")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS):
        return fault("https is needed (plain http only on loopback)")
    return []

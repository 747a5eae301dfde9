"""References: short-lived capabilities to obtain one connection's access token, bound to one client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from broker.access.clients import Clients
from broker.clock import Clock
from broker.errors import FieldFault, InvalidRequest, MissingProviderScopes, NotFound
from broker.models.access import Caller
from broker.models.connection import Connection, Status, unusable
from broker.models.event import Event
from broker.models.ids import bearing_secret, digest, owner_of
from broker.vault.references import StoredReferences

LONGEST: Final = 3_600
"""Seconds a reference may live at most."""
MOST_USES: Final = 1_000


@dataclass(frozen=True, slots=True)
class ReferenceHandle:
    """A reference as the store knows it: its connection and the digest of its secret."""

    connection_id: str
    digest: str


def parse_reference(reference: str) -> ReferenceHandle | None:
    """Where a reference leads, or ``None`` if it is none by its shape."""
    connection_id = owner_of("ref", "con", reference)
    return ReferenceHandle(connection_id, digest(reference)) if connection_id else None


class References:
    """Issues, introspects and revokes references."""

    def __init__(self, stored: StoredReferences, clients: Clients, clock: Clock) -> None:
        self._stored = stored
        self._clients = clients
        self._clock = clock

    async def issue(
        self,
        caller: Caller,
        connection: Connection,
        *,
        audience: str,
        expires_in: int,
        max_uses: int,
        request_id: str | None,
        required_scopes: Sequence[str] = (),
    ) -> str:
        """A new reference, which only the client ``audience`` can redeem.

        :param expires_in: seconds, at most :data:`LONGEST`.
        :param required_scopes: provider scopes that whoever redeems it counts on. They are looked for now, and again
            each time that it is redeemed: a person can take some back.
        :raises Forbidden: the caller may only make certain requests, and whoever redeems it could make others.
        :raises InvalidRequest: the audience is no client of the caller's tenant.
        :raises NotFound: the connection is gone.
        :raises ReauthRequired: its grant is.
        :raises Conflict: it is switched off.
        :raises MissingProviderScopes: the person granted less than is required.
        """
        caller.reach.permit_handing_out()
        lacking = [scope for scope in required_scopes if scope not in connection.scopes]
        if lacking:
            raise MissingProviderScopes(lacking)
        client = await self._clients.read(audience)
        if client is None or client.tenant != caller.tenant:
            fault = FieldFault("audience", "no client of this tenant has this client_id")
            raise InvalidRequest("the reference's audience is unknown", [fault])
        now = self._clock()
        reference = bearing_secret("ref", connection.id)
        outcome = await self._stored.issue(
            connection.id,
            digest(reference),
            audience=audience,
            uses=max_uses,
            ends_at=now + expires_in * 1000,
            event=Event(
                type="reference.issued",
                tenant=caller.tenant,
                at=now,
                connection_id=connection.id,
                client_id=caller.client_id,
                request_id=request_id,
                data={
                    "provider": connection.provider,
                    "audience": audience,
                    "expires_in": expires_in,
                    "max_uses": max_uses,
                },
            ),
            required_scopes=required_scopes,
        )
        match outcome:
            case "ok":
                return reference
            case "absent":
                raise NotFound("no such connection")
            case status:
                raise unusable(Status(status))

    async def introspect(self, caller: Caller, reference: str) -> dict[str, object] | None:
        """RFC 7662 members of a live reference that is the caller's to issue or to redeem, else ``None``."""
        handle = parse_reference(reference)
        stored = await self._stored.read(handle.connection_id, handle.digest) if handle else None
        if handle is None or stored is None or caller.client_id not in {stored["audience"], stored["issuer"]}:
            return None
        if int(stored["ends_at"]) <= self._clock():
            return None
        return {
            "token_type": "urn:broker:token-type:reference",
            "client_id": stored["issuer"],
            "aud": stored["audience"],
            "exp": int(stored["ends_at"]) // 1000,
            "connection_id": handle.connection_id,
            "remaining_uses": int(stored["left"]),
        }

    async def revoke(self, caller: Caller, reference: str, request_id: str | None) -> None:
        """Revoke a reference if the caller is its issuer or its audience; otherwise nothing happens."""
        handle = parse_reference(reference)
        if handle is not None:
            event = Event(
                type="reference.revoked",
                tenant=caller.tenant,
                at=self._clock(),
                connection_id=handle.connection_id,
                client_id=caller.client_id,
                request_id=request_id,
            )
            await self._stored.revoke(handle.connection_id, handle.digest, event)

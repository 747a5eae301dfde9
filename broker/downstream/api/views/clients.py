"""Clients as they are shown; a secret only in the answer that made it."""

from collections.abc import Mapping
from typing import Any, Self

from broker.access.clients import Rotation
from broker.clock import rfc3339
from broker.http.described import Described, Instant
from broker.models.access import Client, Workload


class WorkloadView(Described):
    """Whose platform tokens stand for a client."""

    issuer: str
    subject: str
    audience: str
    key_ids: list[str] | None
    """Of the issuer's registered keys; ``null``: they are found by its metadata."""

    @classmethod
    def of(cls, workload: Workload) -> Self:
        """The view of ``workload``."""
        return cls(
            issuer=workload.issuer,
            subject=workload.subject,
            audience=workload.audience,
            key_ids=None if workload.jwks is None else _key_ids(workload.jwks),
        )


class ClientView(Described):
    """A client; its secret only in the answer that made it."""

    client_id: str
    name: str
    tenant: str
    scope: str
    return_urls: list[str]
    providers: list[str] | None
    completions: list[str]
    created_at: Instant | None
    authentication: list[str]
    """How it can prove itself: ``client_secret``, ``private_key_jwt``, ``workload``; not at all: ``none``."""
    device: bool
    """Whether machines may log in through it."""
    previous_secret_ends_at: Instant | None
    """When the last of its replaced secrets stops working."""
    jwks_uri: str | None
    key_ids: list[str]
    """Of its registered keys; one that names no id is not told."""
    workloads: list[WorkloadView]
    allow: list[str] | None
    """The only requests to providers' APIs that it may make; ``null``: every request."""

    @classmethod
    def of(cls, client: Client) -> Self:
        """The view of ``client``."""
        return cls(**cls.fields_of(client))

    @staticmethod
    def fields_of(client: Client) -> dict[str, Any]:
        """What may be shown of ``client``."""
        return {
            "client_id": client.client_id,
            "name": client.name,
            "tenant": client.tenant,
            "scope": " ".join(client.scopes),
            "return_urls": list(client.return_urls),
            "providers": None if client.providers is None else list(client.providers),
            "completions": ["app", "code", *client.completions],
            "created_at": rfc3339(client.created_at),
            "authentication": list(client.authentication),
            "device": client.device,
            "previous_secret_ends_at": rfc3339(max(client.secret_ends.values(), default=None)),
            "jwks_uri": client.jwks_uri,
            "key_ids": _key_ids(client.jwks or {}),
            "workloads": [WorkloadView.of(workload) for workload in client.workloads],
            "allow": None if client.allow is None else list(client.allow),
        }


class CreatedClient(ClientView):
    """A client that was just made: the only time its secret is shown."""

    client_secret: str | None
    """``null`` where it proves itself otherwise."""

    @classmethod
    def made(cls, client: Client, secret: str) -> Self:
        """The view of a new client."""
        return cls(**cls.fields_of(client), client_secret=secret or None)


class RotatedClient(Described):
    """A secret in another one's place: the only time it is shown."""

    client_id: str
    client_secret: str
    previous_secret_ends_at: Instant | None
    """``null``: it has."""

    @classmethod
    def of(cls, rotation: Rotation) -> Self:
        """The view of ``rotation``."""
        return cls(
            client_id=rotation.client_id,
            client_secret=rotation.secret,
            previous_secret_ends_at=rfc3339(rotation.previous_ends_at),
        )


class DeletedClient(Described):
    """A client that is gone."""

    client_id: str
    status: str


class ClientList(Described):
    """All clients of the tenant."""

    items: list[ClientView]
    next_cursor: str | None = None


def _key_ids(jwks: Mapping[str, Any]) -> list[str]:
    return [key["kid"] for key in jwks.get("keys", ()) if "kid" in key]

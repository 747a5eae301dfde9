"""Clients as they are shown; a secret only in the answer that made it."""

from typing import Any, Self

from pydantic import BaseModel

from broker.clock import rfc3339
from broker.models.access import Client


class ClientView(BaseModel):
    """A client; its secret only in the answer that made it."""

    client_id: str
    name: str
    tenant: str
    scope: str
    return_urls: list[str]
    providers: list[str] | None
    completions: list[str]
    created_at: str | None

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
        }


class CreatedClient(ClientView):
    """A client that was just made: the only time its secret is shown."""

    client_secret: str

    @classmethod
    def made(cls, client: Client, secret: str) -> Self:
        """The view of a new client."""
        return cls(**cls.fields_of(client), client_secret=secret)


class DeletedClient(BaseModel):
    """A client that is gone."""

    client_id: str
    status: str


class ClientList(BaseModel):
    """All clients of the tenant."""

    items: list[ClientView]
    next_cursor: str | None = None

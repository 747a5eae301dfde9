"""Calls of the OAuth face that tests of several endpoints make."""

from typing import Any

import httpx2

from tests.downstream.members import Member
from tests.world import ServiceClient

INACTIVE = b'{"active":false}'
"""What is said of every token that is not the caller's to know about (RFC 7662 §2.2)."""


async def introspect(client: ServiceClient, token: str, **more: str) -> httpx2.Response:
    """Introspect as ``client``."""
    form = {"token": token, **more}
    return await client.http.post("/oauth/introspect", data=form, auth=(client.client_id, client.secret))


async def revoke(client: ServiceClient, token: str, **more: str) -> httpx2.Response:
    """Revoke as ``client``."""
    form = {"token": token, **more}
    return await client.http.post("/oauth/revoke", data=form, auth=(client.client_id, client.secret))


async def reference_for(
    app: ServiceClient, connection: dict[str, Any], audience: ServiceClient | Member, **body: Any
) -> str:
    """A reference to the connection that ``audience`` can redeem."""
    order = {"audience": audience.client_id, **body}
    answer = await app.call("POST", f"/v1/connections/{connection['id']}/references", order)
    return str(answer.raise_for_status().json()["reference"])

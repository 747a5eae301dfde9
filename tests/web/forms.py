"""A person at the form of a connect link, in a browser of their own."""

import re
from collections.abc import Mapping
from typing import Any

import httpx2

from tests.world import PUBLIC_URL, Person, ServiceClient, parameters_of


def inputs(page: str) -> dict[str, tuple[str, str, str]]:
    """What a page asks for: by name the type, what a browser may fill in, and what stands in it."""
    found = {}
    for tag, attributes, content in re.findall(r"<(input|textarea)\b([^>]*)>(?:([^<]*)</textarea>)?", page):
        has = dict(re.findall(r'([a-z-]+)="([^"]*)"', attributes))
        found[has["name"]] = (has.get("type", tag), has["autocomplete"], has.get("value", "") or content)
    return found


async def send(
    person: Person,
    connect_url: str,
    credentials: Mapping[str, str],
    *,
    parameters: Mapping[str, str] | None = None,
    decision: str = "continue",
    **options: Any,
) -> httpx2.Response:
    """Fill the form in and press a button."""
    headers = {"Origin": PUBLIC_URL, **options.pop("headers", {})}
    form = {f"credentials.{name}": value for name, value in credentials.items()}
    form |= {f"parameters.{name}": value for name, value in (parameters or {}).items()}
    return await person.broker.post(connect_url, data={**form, "decision": decision}, headers=headers, **options)


async def connect(
    app: ServiceClient, person: Person, provider: str, credentials: Mapping[str, str], **body: Any
) -> dict[str, Any]:
    """The whole way by a form; answers the connection."""
    opened = await app.open_session(provider=provider, **body)
    sent = await send(person, opened["connect_url"], credentials)
    assert sent.status_code == 303, sent.text
    returned = parameters_of(sent.headers["location"])
    completed = await app.complete(opened["id"], returned["completion_code"])
    assert completed.status_code == 200, completed.text
    connection: dict[str, Any] = completed.json()["connection"]
    return connection

"""Connections as Nango's API answers them: ``GET /connections/{connectionId}?refresh_token=true``, one a line, in an
array, or in an array called ``connections``. The list that its API answers without credentials is of no use.

``provider_config_key`` is the provider, ``end_user.id`` the subject (without it: ``connection_id``, which is also what
``source_id`` tells). Of ``connection_config`` only what the entry asks for comes along. Credentials are ``OAUTH2``,
``API_KEY``, ``BASIC``, ``APP`` (an installation) and ``NONE``; others can't be taken in and are named.

Source: Nango's documentation, Backend, HTTP API, "Get connection & credentials" (nango.dev/docs/reference).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from broker.connections.moving.formats.reading import ReadOptions
from broker.connections.moving.json_items import items_of
from broker.connections.moving.members import Members, Untakeable
from broker.connections.moving.row import Row, RowFault


class Nango:
    """Reads them."""

    def read(self, file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
        """See :class:`~broker.connections.moving.formats.reading.Reader`."""
        options.refuse_columns("nango")
        return _rows(file, options)


def _rows(file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
    for number, item in items_of(file, member="connections"):
        if isinstance(item, RowFault):
            yield item
            continue
        try:
            yield _row(number, item, options)
        except Untakeable as error:
            yield error.at(number, item, "connection_id")


def _row(number: int, item: Mapping[str, Any], options: ReadOptions) -> Row:
    read, person = Members(item), Members(Members(item).object("end_user"), "end_user")
    source_id = read.identifier("connection_id")
    named = read.text("provider_config_key")
    if source_id is None or named is None:
        raise Untakeable("connection_id", "each connection has a connection_id and a provider_config_key")
    provider = options.provider_of(named)
    config = read.object("connection_config")
    wanted = options.parameters_of(provider)
    return Row(
        number=number,
        provider=provider,
        subject=person.identifier("id") or source_id,
        credentials=_credentials(read.object("credentials"), config),
        parameters={name: value for name, value in config.items() if name in wanted and isinstance(value, str)},
        label=person.text("display_name"),
        metadata=read.object("metadata"),
        created_at=read.moment("created_at", "created"),
        source_id=source_id,
    )


def _credentials(given: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    if not given:
        message = "missing: each connection has to be asked for by its id; the list has none"
        raise Untakeable("credentials", message)
    read = Members(given, "credentials")
    kind = read.text("type") or ""
    taken = _KINDS.get(kind)
    if taken is None:
        named = kind if kind in _OTHERS else "of this type"
        raise Untakeable("credentials.type", f"credentials {named} can't be taken in; there are: {', '.join(_KINDS)}")
    return {name: value for name, value in taken(read, Members(config, "connection_config")).items() if value}


def _oauth2(read: Members, _: Members) -> dict[str, str | None]:
    access, refresh = _needed(read, "access_token"), read.text("refresh_token")
    end = read.text("expires_at")
    if end and not refresh:
        # The API leaves it out unless it is asked for it: the connection would be over within the hour.
        raise Untakeable("credentials.refresh_token", "missing for a token that ends: ask with refresh_token=true")
    scope = Members(read.object("raw"), "credentials.raw")
    return {"access_token": access, "refresh_token": refresh, "expires_at": end, "scope": _scope(scope)}


def _scope(raw: Members) -> str | None:
    """What was granted, if the provider's answer, which may hold anything, says it in the usual way."""
    try:
        return raw.text("scope")
    except Untakeable:
        return None


def _api_key(read: Members, _: Members) -> dict[str, str | None]:
    return {"api_key": _needed(read, "apiKey")}


def _basic(read: Members, _: Members) -> dict[str, str | None]:
    return {"username": _needed(read, "username"), "password": _needed(read, "password")}


def _installation(_: Members, config: Members) -> dict[str, str | None]:
    return {"installation_id": _needed(config, "installation_id")}


def _none(_: Members, __: Members) -> dict[str, str | None]:
    return {}


def _needed(read: Members, name: str) -> str:
    found = read.identifier(name)
    if found is None:
        raise Untakeable(read.name(name), "missing")
    return found


_KINDS: Final[Mapping[str, Callable[[Members, Members], dict[str, str | None]]]] = {
    "OAUTH2": _oauth2,
    "API_KEY": _api_key,
    "BASIC": _basic,
    "APP": _installation,
    "NONE": _none,
}
_OTHERS: Final = frozenset(
    {"OAUTH1", "OAUTH2_CC", "TBA", "JWT", "BILL", "TABLEAU", "TWO_STEP", "SIGNATURE", "CUSTOM", "APP_STORE"}
)
"""Types that faults name; anything else may be no type at all."""

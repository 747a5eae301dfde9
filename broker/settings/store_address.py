"""The store's address: one server, the sentinels that know the primary, or the nodes of a Cluster.

::

    redis://[user:pass@]host[:port][/db][?options]                   one server; rediss:// over TLS
    unix://[user:pass@]/path[?db=…]                                  one server on this machine
    redis+sentinel://[user:pass@]host[:port][,…]/SERVICE[/db][?…]    default port 26379
    redis+cluster://[user:pass@]host[:port][,…][?options]            default port 6379

``rediss+sentinel://`` and ``rediss+cluster://``, or the option ``ssl=true``, ask for TLS. User, password and options
are those of the servers that hold the data; options that begin with ``sentinel_`` (``sentinel_username``,
``sentinel_password``) are for the sentinels, and what the data is reached with over TLS (``ssl``, ``ssl_…``) holds
for them, too. That is the spelling of the packages Redis-Sentinel-Url and prefect-redis. Every kind comes down to the
URLs of single servers, so there is one place that opens connections.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_SCHEMES: Final = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
_MANY: Final = re.compile(
    r"(?P<tls>rediss?)\+(?P<kind>sentinel|cluster)://(?P<netloc>[^/?#]*)(?P<path>[^?#]*)(\?(?P<query>[^#]*))?"
)
_MEMBER: Final = re.compile(r"(\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(:(?P<port>[0-9]{1,5}))?")
_SERVICE_PATH: Final = re.compile(r"(/(?P<service>[^/]+)(/(?P<db>[0-9]{1,5}))?)?/?")
_PORTS: Final = {"sentinel": 26_379, "cluster": 6_379}
_SENTINELS: Final = "sentinel_"
_SSL_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Node(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """What a store URL says. Its text may hold passwords, so it shows itself as :meth:`place` only."""

    kind: Literal["single", "sentinel", "cluster"]
    url: str
    nodes: tuple[Node, ...] = ()
    """The sentinels, or those nodes of the Cluster that are asked first; empty for a single server."""
    service: str = ""
    """The name under which the sentinels know the primary."""
    tls: bool = False
    user: str = ""
    """``user:pass`` as it stands in the URL, percent-encoded."""
    db: str = ""
    options: tuple[tuple[str, str], ...] = ()
    sentinel_options: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"StoreAddress({self.kind}, {self.place})"

    @property
    def place(self) -> str:
        """Where the store is expected, for people: neither user nor password."""
        if self.kind == "single":
            parts = urlsplit(self.url)
            return parts.path if parts.scheme == "unix" else str(Node(parts.hostname or "", parts.port or 6_379))
        who = "the sentinels" if self.kind == "sentinel" else "the Cluster nodes"
        return f"{who} {', '.join(map(str, self.nodes))}"

    def url_of(self, node: Node) -> str:
        """The URL of one server that holds data."""
        at = f"{self.user}@" if self.user else ""
        return _url(self.tls, f"{at}{node}", self.db, self.options)

    def url_of_sentinel(self, node: Node) -> str:
        """The URL of one sentinel."""
        shared = tuple(option for option in self.options if option[0].startswith("ssl_"))
        own = dict(self.sentinel_options)
        tls = _ssl(own, self.tls)
        return _url(tls, str(node), "", tuple({**dict(shared if tls else ()), **own}.items()))


def parse_store_address(text: str) -> StoreAddress:
    """What ``text`` says.

    :raises ValueError: what is wrong, without the value.
    """
    scheme = text.partition("://")[0].lower()
    if re.fullmatch(r"rediss?\+(sentinel|cluster)", scheme):
        return _many(scheme + text[len(scheme) :])
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - the library checks the port only when it is asked for
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(f"must start with {_SCHEMES}")
    if not (parts.path.startswith("/") if parts.scheme == "unix" else parts.hostname):
        raise ValueError("lacks the path of the socket" if parts.scheme == "unix" else "lacks a host")
    return StoreAddress("single", text)


def _many(text: str) -> StoreAddress:
    match = _MANY.fullmatch(text)
    if match is None:
        raise ValueError("is not a valid URL")
    sentinel = match["kind"] == "sentinel"
    user, _, members = match["netloc"].rpartition("@")
    query = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
    tls = _ssl(query, match["tls"] == "rediss")
    service, db = _service(match["path"], query) if sentinel else ("", _cluster_db(match["path"], query))
    ours = {name: value for name, value in query.items() if not (sentinel and name.startswith(_SENTINELS))}
    return StoreAddress(
        kind="sentinel" if sentinel else "cluster",
        url=text,
        nodes=tuple(_member(member, _PORTS[match["kind"]]) for member in members.split(",")),
        service=service,
        tls=tls,
        user=user,
        db=db,
        options=tuple(ours.items()),
        sentinel_options=tuple((name.removeprefix(_SENTINELS), query[name]) for name in query if name not in ours),
    )


def _member(text: str, default_port: int) -> Node:
    match = _MEMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError("lacks a host" if not text.strip() else "must name hosts as host:port, separated by commas")
    port = int(match["port"] or default_port)
    if not 0 < port <= 65_535:
        raise ValueError("is not a valid URL")
    return Node(match["literal"] or match["name"], port)


def _service(path: str, query: dict[str, str]) -> tuple[str, str]:
    match = _SERVICE_PATH.fullmatch(path)
    if match is None:
        raise ValueError("must end in /SERVICE or /SERVICE/db")
    service = query.pop("service_name", "") or unquote(match["service"] or "")
    if not service:
        raise ValueError("lacks the name of the service that the sentinels watch (/SERVICE)")
    db = query.pop("db", "") or match["db"] or ""
    if db and not db.isdecimal():
        raise ValueError("must have a number as db")
    return service, db


def _cluster_db(path: str, query: dict[str, str]) -> str:
    if path not in {"", "/", "/0"} or query.pop("db", "0") != "0":
        raise ValueError("must not name a database: a Cluster has db 0 only")
    return ""


def _ssl(query: dict[str, str], otherwise: bool) -> bool:
    """Takes the option ``ssl`` out of ``query``."""
    word = query.pop("ssl", "")
    if word and word.lower() not in _SSL_WORDS:
        raise ValueError("must have true or false as ssl")
    return _SSL_WORDS[word.lower()] if word else otherwise


def _url(tls: bool, netloc: str, db: str, options: tuple[tuple[str, str], ...]) -> str:
    query: Mapping[str, str] = dict(options)
    return f"redis{'s' * tls}://{netloc}/{db}" + (f"?{urlencode(query)}" if query else "")

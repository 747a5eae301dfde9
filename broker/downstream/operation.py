"""A route, said once as data: its face enforces what stands here, and ``/openapi.json`` shows the same.

An operation names the models that its handler reads and answers. A call hands out nothing else (``Call.body``,
``Call.answer``, ``OAuthCall.parameters``), so what is declared and what happens can't drift apart.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, RootModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.errors import BrokerError

Models = type[BaseModel] | tuple[type[BaseModel], ...]
"""One model, or several of which one applies."""

NO_MODEL: Final = ()
"""Nothing is read, or an answer has no body."""


class JsonObject(RootModel[dict[str, Any]]):
    """A JSON object."""


class Text(RootModel[str]):
    """Text."""


@dataclass(frozen=True, slots=True)
class Face:
    """What the operations of one face have in common."""

    name: str
    """One word."""
    takes: str
    """The media type of bodies."""
    gives: str
    """The media type of answers."""
    refuses_with: str
    """The media type of refusals."""
    refusal: type[BaseModel] | None
    """The model of refusals; ``None`` where they are for people to read."""
    always: tuple[type[BrokerError], ...]
    """What every operation may be refused with."""
    schemes: Sequence[str | None] = ()
    """Names of the security schemes, of which the caller needs one, ``None`` for a way that has no scheme. Empty:
    nobody authenticates."""
    words: Mapping[int, str] = field(default_factory=dict)
    """What a refusal's status means, where the face has other words for it than the error tree."""


PUBLIC: Final = Face(
    name="public", takes="", gives="application/json", refuses_with="application/problem+json", refusal=None, always=()
)
"""Documents that everybody may read, and that are never refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    face: Face
    name: str
    """As a function of a generated client would be called, such as ``fetch_token``."""
    method: str
    path: str
    """With parameters in braces."""
    tag: str
    """The group it is shown in."""
    summary: str
    """One line."""
    description: str = ""
    scope: str | None = None
    """The client scope it takes; ``None``: any authenticated client, or nobody has to be one."""
    body: Models = NO_MODEL
    query: type[BaseModel] | None = None
    answer: Models = NO_MODEL
    status: int = 200
    """Of the answer when all goes well."""
    refuses: tuple[type[BrokerError], ...] = ()
    """What it may be refused with, beyond what its face always refuses with."""
    redirects: bool = False
    """It may send a browser on (303) instead."""
    bound: bool = False
    """A token that is bound to one connection is good for it, although the path names none. Where it does, it is."""
    also_takes: tuple[str, ...] = ()
    """Other media types of the body than the face's."""
    relays: bool = False
    """It passes bodies through, both ways, unread: the answer is somebody else's."""
    creates: bool = False
    """Makes something new each time; a caller that repeats itself says so with ``Idempotency-Key``."""

    @property
    def takes_bound(self) -> bool:
        """Whether a token that is bound to one connection is good for it."""
        return self.bound or "{connection_id}" in self.path

    @property
    def media_types(self) -> tuple[str, ...]:
        """Those that a body may be of."""
        return (self.face.takes, *self.also_takes)

    @property
    def bodies(self) -> tuple[type[BaseModel], ...]:
        """The models of the body."""
        return self.body if isinstance(self.body, tuple) else (self.body,)

    @property
    def answers(self) -> tuple[type[BaseModel], ...]:
        """The models of the answer."""
        return self.answer if isinstance(self.answer, tuple) else (self.answer,)


class DeclaredRoute(Route):
    """A route that knows its operation."""

    def __init__(self, operation: Operation, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        name = f"{operation.method} {operation.path}"
        super().__init__(operation.path, endpoint, methods=[operation.method], name=name)
        self.operation = operation

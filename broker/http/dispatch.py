"""Which route serves a path: one table, walked down segment by segment, whatever the number of routes.

Templates are Starlette's: ``/v1/connections/{connection_id}/token``, and ``{path:path}`` at the end for all that is
left. Each path leads one way: a segment in words is taken before a parameter, and nobody goes back to try another.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.routing import Route

_REST: Final = ":path"


class _Node:
    """Where some segments lead."""

    __slots__ = ("names", "parameter", "rest", "routes", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        """A parameter that takes all the segments that are left, and may be empty."""
        self.names: tuple[str, ...] = ()
        """Of the parameters on the way here."""
        self.routes: dict[str, Route] = {}
        """By method."""


class Dispatch:
    """Finds routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """
        :raises ValueError: a template that this table can't tell from another one.
        """
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node, names = self._root, []
        _, *segments = route.path.split("/")
        for position, segment in enumerate(segments):
            if not segment.startswith("{"):
                node = node.words.setdefault(segment, _Node())
                continue
            name = segment.strip("{}")
            if name.endswith(_REST):
                if position != len(segments) - 1:
                    raise ValueError(f"{route.path}: only the last segment can take all that is left")
                node.rest = node = node.rest or _Node()
            else:
                node.parameter = node = node.parameter or _Node()
            names.append(name.removesuffix(_REST))
        methods = route.methods or set()
        if node.routes and (node.names != tuple(names) or not methods.isdisjoint(node.routes)):
            raise ValueError(f"{route.path}: two routes would serve the same requests")
        node.names = tuple(names)
        node.routes |= dict.fromkeys(methods, route)

    def find(self, path: str) -> tuple[Mapping[str, Route], dict[str, str]]:
        """The routes of ``path`` by method, and its parameters; no routes where it leads nowhere."""
        node, values = self._root, []
        if path[:1] != "/":
            return {}, {}
        left = path[1:].split("/")
        for position, segment in enumerate(left):
            following = node.words.get(segment)
            if following is None:
                if node.parameter is not None and segment:
                    following = node.parameter
                    values.append(segment)
                elif node.rest is not None:
                    node = node.rest
                    values.append("/".join(left[position:]))
                    break
                else:
                    return {}, {}
            node = following
        return node.routes, dict(zip(node.names, values, strict=False))

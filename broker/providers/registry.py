"""The providers of a loaded file, by name."""

from collections.abc import Iterable, Iterator

from broker.errors import NotConfigured, NotFound
from broker.providers.schema import Provider


class Registry:
    """All entries, in the order of their names. It never changes; a new file is a new registry."""

    __slots__ = ("_providers",)

    def __init__(self, providers: Iterable[Provider]) -> None:
        by_name = {provider.name: provider for provider in providers}
        self._providers = {name: by_name[name] for name in sorted(by_name)}

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of all entries, sorted."""
        return tuple(self._providers)

    def get(self, name: str) -> Provider:
        """The provider called ``name``, ready or not.

        :raises NotFound: there is none. The message leaves the name out: a stranger may have chosen it.
        """
        try:
            return self._providers[name]
        except KeyError:
            raise NotFound("there is no such provider") from None

    def of_connection(self, name: str) -> Provider:
        """The provider of a connection that there is, by the ``name`` that its record has.

        :raises NotConfigured: it is no longer in the file, or not in this one.
        """
        try:
            return self._providers[name]
        except KeyError:
            raise NotConfigured from None

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def __len__(self) -> int:
        return len(self._providers)

    def __repr__(self) -> str:
        return f"Registry({', '.join(self._providers)})"

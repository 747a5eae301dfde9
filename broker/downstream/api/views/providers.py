"""What can be connected."""

from collections.abc import Mapping
from typing import Self

from broker.http.described import Described
from broker.providers import Provider


class ParameterView(Described):
    """Something a connection has to say."""

    label: str
    """What to ask the person for."""
    pattern: str
    """The regular expression that a value matches in full."""
    default: str | None


class ProviderView(Described):
    """What can be connected."""

    name: str
    display_name: str
    type: str
    grant_types: list[str]
    scopes: Mapping[str, str]
    """Scope → the sentence that explains it to the person."""
    default_scopes: list[str]
    parameters: Mapping[str, ParameterView]
    redirect_uri: str
    """To be registered at the provider."""
    ready: bool
    """Whether it can be connected."""
    missing: list[str]
    """What has to be set before."""

    @classmethod
    def of(cls, provider: Provider, redirect_uri: str) -> Self:
        """The view of ``provider``."""
        return cls(
            name=provider.name,
            display_name=provider.display_name,
            type=provider.type,
            grant_types=list(provider.grant_types),
            scopes=provider.scopes,
            default_scopes=list(provider.default_scopes),
            parameters={
                name: ParameterView(label=rule.label, pattern=rule.pattern, default=rule.default)
                for name, rule in provider.parameters.items()
            },
            redirect_uri=redirect_uri,
            ready=provider.ready,
            missing=list(provider.missing),
        )


class ProviderList(Described):
    """All providers that the client was given."""

    items: list[ProviderView]
    next_cursor: str | None = None

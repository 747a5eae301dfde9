"""What can be connected."""

from collections.abc import Mapping
from typing import Literal, Self

from broker.http.described import Described
from broker.providers import Provider


class ParameterView(Described):
    """Something a connection has to say."""

    label: str
    """What to ask the person for."""
    pattern: str
    """The regular expression that a value matches in full."""
    default: str | None


class CredentialFieldView(Described):
    """A part of a credential that is handed in."""

    label: str
    """What to ask for."""
    secret: bool
    """Whether it is to be hidden, also while it is typed."""
    optional: bool
    multiline: bool
    pattern: str | None
    """The regular expression that a value matches in full."""
    format: str
    """``text``, ``token`` (visible ASCII), ``digits``, ``private_key`` (PEM), ``base64`` or ``hex``."""
    help: str | None
    """Where to find it, or what it looks like."""


class CredentialHelpView(Described):
    """Where a person finds what is to be handed in."""

    text: str
    url: str | None


class GitView(Described):
    """For which hosts git may ask for a provider's token."""

    hosts: list[str]
    username: str
    """What git says beside it."""


class ProviderView(Described):
    """What can be connected."""

    name: str
    display_name: str
    type: str
    """What kind of credential its connections hold."""
    connects_by: Literal["redirect", "form"] | None
    """How a person connects: at the provider, or by handing a credential in; ``null``: they can't."""
    credential_fields: Mapping[str, CredentialFieldView]
    """What ``credentials`` of ``POST /v1/connections`` consists of."""
    credential_help: CredentialHelpView | None
    release: Literal["token", "proxy_only"]
    """``proxy_only``: the credential never leaves the broker; its API is called through the proxy."""
    grant_types: list[str]
    scopes: Mapping[str, str]
    """Scope → the sentence that explains it to the person."""
    default_scopes: list[str]
    parameters: Mapping[str, ParameterView]
    redirect_uri: str | None
    """To be registered at the provider; ``null`` where no browser is sent there."""
    device: Literal["auto", "native", "bridge", "off"]
    """How machines log in with it."""
    env: Mapping[str, str]
    """What a program is given in its environment: name → template over ``{access_token}``."""
    git: GitView | None
    """For which hosts git may ask for its token; ``null``: for none."""
    ready: bool
    """Whether it can be connected."""
    missing: list[str]
    """What has to be set before."""

    @classmethod
    def of(cls, provider: Provider, public_url: str) -> Self:
        """The view of ``provider``, of a broker at ``public_url``."""
        return cls(
            name=provider.name,
            display_name=provider.display_name,
            type=provider.type,
            connects_by=provider.connects_by,
            credential_fields={
                name: CredentialFieldView.model_validate(field, from_attributes=True)
                for name, field in provider.every_field.items()
            },
            credential_help=CredentialHelpView.model_validate(provider.credential_help, from_attributes=True)
            if provider.credential_help
            else None,
            release=provider.release,
            grant_types=list(provider.grant_types),
            scopes=provider.scopes,
            default_scopes=list(provider.default_scopes),
            parameters={
                name: ParameterView(label=rule.label, pattern=rule.pattern, default=rule.default)
                for name, rule in provider.parameters.items()
            },
            redirect_uri=provider.redirect_uri(public_url) if provider.type == "oauth2" else None,
            device=provider.device.mode,
            env=provider.env,
            git=GitView(hosts=list(provider.git.hosts), username=provider.git.username) if provider.git else None,
            ready=provider.ready,
            missing=list(provider.missing),
        )


class ProviderList(Described):
    """All providers that the client was given."""

    items: list[ProviderView]
    next_cursor: str | None = None

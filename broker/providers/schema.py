"""The schema of ``providers.yaml``: what a provider entry may say. Unknown keys are faults.

Field names are those of RFC 8414 (endpoints) and RFC 7591 (client metadata) where one exists. Everything that
makes a provider differ is a value in here; no code anywhere asks for a provider's name.
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from broker.providers.credential_entry import CredentialEntry, unset_fields
from broker.providers.credential_templates import check_templates
from broker.providers.faults import suggestion
from broker.providers.fields import (
    Address,
    AuthorizationParameters,
    Headers,
    Pointer,
    Text,
    TokenParameters,
    placeholders,
)
from broker.providers.sections import (
    Api,
    Device,
    Entry,
    Git,
    Identity,
    Parameter,
    Refresh,
    Revocation,
    RotationPolicy,
    TokenResponse,
)

__all__ = [
    "Address",
    "Api",
    "Device",
    "Entry",
    "Git",
    "GrantType",
    "Identity",
    "Parameter",
    "Pointer",
    "Provider",
    "ProvidersFile",
    "Refresh",
    "Revocation",
    "RotationPolicy",
    "TokenResponse",
    "placeholders",
]

GrantType = Literal["authorization_code", "device_code", "client_credentials", "refresh_token"]


NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""What an entry may be called: the name stands in redirect URIs."""


_OTHER_PLACEHOLDERS: Final = {
    ("oauth2", "revocation.endpoint"): ("client_id",),
    ("github_app", "token_endpoint"): ("installation_id",),
}
"""What may stand in an address besides the parameters: type and field → names."""


def _supported_method(value: object) -> object:
    if value == "private_key_jwt":
        raise ValueError("private_key_jwt is not supported by this version")
    return value


class Provider(CredentialEntry):
    """One entry of ``providers.yaml``: one OAuth app and one redirect URI at one provider."""

    name: SkipJsonSchema[str] = Field(default="", exclude=True, pattern=f"^({NAME.pattern})?$")
    """The entry's key; set by the loader."""
    display_name: Text
    """What a person calls the provider."""
    documentation: Address | None = None
    """Where the provider documents how to register an app."""

    issuer: Address | None = None
    """The authorization server's identifier (RFC 8414 §2); endpoints left out are discovered from it."""
    authorization_endpoint: Address | None = None
    device_authorization_endpoint: Address | None = None
    revocation: Revocation | None = None

    client_secret: Annotated[SecretStr, Field(min_length=1)] | None = None
    token_endpoint_auth_method: Annotated[
        Literal["client_secret_basic", "client_secret_post", "none"], BeforeValidator(_supported_method)
    ] = "client_secret_basic"  # noqa: S105 - the name of a method
    """How the broker authenticates to the provider (RFC 7591 §2)."""
    grant_types: tuple[GrantType, ...] = ("authorization_code", "refresh_token")
    """Empty with every type but ``oauth2``."""
    code_challenge_method: Literal["S256", "none"] = "S256"
    """PKCE (RFC 7636); ``none`` only where a provider breaks on it."""
    authorization_response_iss: Address | None = None
    """The ``iss`` (RFC 9207) that the provider's authorization answers carry, where it sends one."""

    scopes: dict[str, str] = Field(default_factory=dict)
    """Scope → the sentence a person reads."""
    default_scopes: tuple[str, ...] = ()
    """What is asked for where a connect session names no scopes."""
    scope_separator: str = Field(default=" ", min_length=1, max_length=1)
    scope_param: Text = "scope"
    """The authorization parameter that scopes travel under."""

    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """What each connection says for itself, usable as ``{name}`` in endpoints and ``api.base_url``."""
    code_lifetime: int = Field(default=600, gt=0)
    """How long an authorization code can be redeemed, in seconds."""
    authorization_params: AuthorizationParameters = Field(default_factory=dict)
    """Sent to the authorization endpoint besides what the protocol asks for."""
    token_params: TokenParameters = Field(default_factory=dict)
    """Sent with every token request."""
    token_headers: Headers = Field(default_factory=dict)
    """Sent with every token request."""
    token_body: Literal["form", "json"] = "form"  # noqa: S105 - the name of an encoding
    """How token requests are encoded."""
    refresh_params: TokenParameters = Field(default_factory=dict)
    """Sent with refresh requests only."""
    token_response: TokenResponse = TokenResponse()
    refresh: Refresh = Refresh()
    identity: Identity | None = None
    """Left out, a discovered UserInfo endpoint stands in where a person granted ``openid``."""
    release: Literal["token", "proxy_only"] = "token"
    """``proxy_only``: the credential never leaves the broker; services go through its proxy."""
    device: Device = Device()
    env: dict[str, str] = Field(default_factory=dict)
    """Variables that ``broker exec`` sets, as templates: ``{access_token}``."""
    git: Git | None = None
    timeout: float = Field(default=10, gt=0, le=120)
    """Total deadline of one call to the provider, in seconds."""

    missing_variables: SkipJsonSchema[tuple[str, ...]] = Field(default=(), exclude=True)
    """Environment variables that the entry names and that are not set; filled in by the loader."""

    @field_validator("default_scopes")
    @classmethod
    def _defaults_are_scopes(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        scopes = info.data.get("scopes")
        if not scopes or "scopes" in unset_fields(info):
            return value
        for position, scope in enumerate(value, start=1):
            if scope not in scopes:
                raise ValueError(f"item {position} is not among scopes{suggestion(scope, scopes)}")
        return value

    @model_validator(mode="after")
    def _endpoints_are_known(self, info: ValidationInfo) -> Self:
        if self.type != "oauth2":
            return self
        needed = {"token_endpoint": self.token_endpoint}
        if "authorization_code" in self.grant_types:
            needed["authorization_endpoint"] = self.authorization_endpoint
        lacking = [field for field, address in needed.items() if address is None and field not in unset_fields(info)]
        if lacking and self.issuer is None and "issuer" not in unset_fields(info):
            raise ValueError(f"{' and '.join(lacking)} missing, no issuer to discover from")
        return self

    @model_validator(mode="after")
    def _placeholders_are_parameters(self, info: ValidationInfo) -> Self:
        if "parameters" in unset_fields(info):
            return self
        templates = {
            "issuer": self.issuer,
            "authorization_endpoint": self.authorization_endpoint,
            "token_endpoint": self.token_endpoint,
            "device_authorization_endpoint": self.device_authorization_endpoint,
            "identity.url": self.identity and self.identity.url,
            "api.base_url": self.api and self.api.base_url,
            "aws.region": self.aws and self.aws.region,
            "aws.service": self.aws and self.aws.service,
            "identity.aws.region": self.identity and self.identity.aws and self.identity.aws.region,
            "identity.aws.service": self.identity and self.identity.aws and self.identity.aws.service,
            "revocation.endpoint": self.revocation and self.revocation.endpoint,
        }
        for field, template in templates.items():
            allowed = {*self.parameters, *_OTHER_PLACEHOLDERS.get((self.type, field), ())}
            unknown = placeholders(template or "") - allowed
            if unknown:
                raise ValueError(f"{field} uses {{{min(unknown)}}}, which is not among parameters")
        return self

    @model_validator(mode="after")
    def _templates_can_be_filled_in(self, info: ValidationInfo) -> Self:
        if self.type == "custom" and not {"fields", "parameters", "computed", "headers", "query"} & unset_fields(info):
            check_templates(
                fields=self.fields,
                parameters=self.parameters,
                computed=self.computed,
                headers=self.headers,
                query=self.query,
            )
        return self

    @property
    def missing(self) -> tuple[str, ...]:
        """What must be set before the provider can be used: environment variables or keys. Empty = ready."""
        if self.missing_variables:
            return tuple(f"environment variable {name}" for name in self.missing_variables)
        if self.type != "oauth2":
            return ()
        public = self.token_endpoint_auth_method == "none"  # noqa: S105 - the name of a method
        keys = {
            "client_id": self.client_id is None,
            "client_secret": self.client_secret is None and not public,
        }
        return tuple(key for key, is_missing in keys.items() if is_missing)

    def redirect_uri(self, public_url: str) -> str:
        """The one redirect URI to register at the provider; made from the settings, never from a request."""
        return f"{public_url}/callback/{self.name}"

    @property
    def hands_out_tokens(self) -> bool:
        """Whether an access token of its connections may leave the broker."""
        return self.releases_tokens and self.release == "token"

    @property
    def connects_by(self) -> Literal["redirect", "form"] | None:
        """How a person connects: at the provider, or by handing a credential in on our page; ``None``: they can't."""
        if self.type == "oauth2":
            return "redirect" if "authorization_code" in self.grant_types else None
        # The app's own key opens every installation to whoever names it: that is for services to say, not for people.
        return None if self.type == "github_app" and self.private_key is not None else "form"

    @property
    def revoking_ends_grant(self) -> bool:
        """Whether revoking one token ends every token of that person for this app, other connections' too."""
        return self.revocation is not None and self.revocation.effect == "grant"

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


class ProvidersFile(Entry):
    """The whole file."""

    providers: dict[str, Provider]

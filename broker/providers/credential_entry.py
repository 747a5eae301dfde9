"""What an entry says about the credentials of its connections: their kind, their parts, how they go onto a request."""

from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from broker.providers.credential_sections import ApiKey, Computed, CredentialField, CredentialHelp
from broker.providers.fields import Address, FieldName, HeaderName, Text, placeholders
from broker.providers.kinds import APP_FIELDS, KINDS, Kind, ProviderType
from broker.providers.private_keys import read_private_key
from broker.providers.sections import Api, Aws, Entry

_OAUTH_ONLY: Final = frozenset(
    {
        "issuer",
        "authorization_endpoint",
        "device_authorization_endpoint",
        "revocation",
        "grant_types",
        "authorization_response_iss",
    }
)
_SECTION_OF: Final = {
    "api_key": "api_key",
    "headers": "custom",
    "query": "custom",
    "computed": "custom",
    "aws": "aws_sigv4",
    "private_key": "github_app",
}


def _supported_type(value: object) -> object:
    if value not in KINDS:
        raise ValueError(f"is not supported by this version, which knows {', '.join(KINDS)}")
    return value


def unset_fields(info: ValidationInfo) -> frozenset[str]:
    """The fields that can't be judged because a variable in them is not set; see the loader."""
    return info.context["unset"] if info.context else frozenset()


class CredentialEntry(Entry):
    """The part of an entry that is about kinds of credentials."""

    type: Annotated[ProviderType, BeforeValidator(_supported_type)] = "oauth2"
    """What kind of credential its connections hold. What only ``oauth2`` has, other types leave unread, so that an
    entry can extend one of another type."""
    fields: dict[FieldName, CredentialField] = Field(default_factory=dict)
    """What a credential consists of. With ``custom`` all of it; with other types the entry's own words for what they
    consist of."""
    credential_help: CredentialHelp | None = None
    """Shown on the connect page, where the person hands a credential in."""
    api_key: ApiKey | None = None
    headers: dict[HeaderName, Text] = Field(default_factory=dict)
    """With ``custom``: what is put on a request, as templates over fields, parameters and ``computed``."""
    query: dict[Text, Text] = Field(default_factory=dict)
    """With ``custom``: query parameters, as ``headers``."""
    computed: dict[FieldName, Computed] = Field(default_factory=dict)
    """With ``custom``: parts that are computed for each request, usable as ``{name}`` in those that follow."""
    aws: Aws | None = None
    private_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """With ``github_app``: the app's private key (PEM). Left out: each connection brings its own, and its client_id."""

    client_id: Text | None = None
    token_endpoint: Address | None = None
    api: Api | None = None

    @field_validator("private_key")
    @classmethod
    def _can_be_signed_with(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_private_key(value.get_secret_value())
        return value

    @model_validator(mode="before")
    @classmethod
    def _without_what_only_oauth_has(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("type", "oauth2") != "oauth2":
            return {name: value for name, value in data.items() if name not in _OAUTH_ONLY} | {"grant_types": ()}
        return data

    @model_validator(mode="after")
    def _has_what_its_type_has(self, info: ValidationInfo) -> Self:
        unset = unset_fields(info)
        for section, owner in _SECTION_OF.items():
            if section in self.model_fields_set and getattr(self, section) and self.type != owner:
                raise ValueError(f"{section} belongs to type {owner}, not to {self.type}")
        unknown = self.fields.keys() - KINDS[self.type].fields.keys() - APP_FIELDS.keys()
        if unknown and self.type != "custom":
            raise ValueError(f"fields names {min(unknown)}, which type {self.type} does not have")
        left_out = [name for name, field in self.fields.items() if not field.asked]
        needed = [name for name in left_out if name not in self.kind.fields or not self.kind.fields[name].optional]
        if needed:
            raise ValueError(f"fields.{needed[0]} is needed, so it is asked for")
        if self.type == "aws_sigv4" and self.aws is None and "aws" not in unset:
            raise ValueError("aws missing: region and service that requests are signed for")
        if self.type == "custom" and not (self.headers or self.query or {"headers", "query"} & unset):
            raise ValueError("headers and query missing: where the fields are put")
        if self.type == "google_service_account" and self.token_endpoint is None and "token_endpoint" not in unset:
            raise ValueError("token_endpoint missing: where the provider issues tokens for assertions")
        if self.type == "github_app" and self.api is None and "api" not in unset:
            raise ValueError("api missing: below api.base_url the provider issues tokens for installations")
        return self

    @property
    def kind(self) -> Kind:
        """What its type has in common with others of it."""
        return KINDS[self.type]

    @property
    def credential_fields(self) -> dict[str, CredentialField]:
        """What a credential consists of, in the entry's words where it has some."""
        fields = dict(self.kind.fields)
        if self.type == "github_app" and (self.client_id is None or self.private_key is None):
            fields |= APP_FIELDS
        if self.type == "custom":
            return {**self.fields}
        in_words = {name: _in_words_of(self.fields.get(name), field) for name, field in fields.items()}
        return {name: field for name, field in in_words.items() if field.asked}

    @property
    def public_fields(self) -> frozenset[str]:
        """The names of those that are no secrets: they may name the account."""
        return frozenset(name for name, field in self.credential_fields.items() if not field.secret)

    @property
    def form_fields(self) -> dict[str, CredentialField]:
        """What a form asks a person for: a credential that comes as a file is handed in as one."""
        fields, document = self.credential_fields, self.kind.document
        if document is None:
            return fields
        beside = {name: field for name, field in fields.items() if name not in document.members}
        return {document.field: document.rule, **beside}

    @property
    def every_field(self) -> dict[str, CredentialField]:
        """What a credential may consist of: its fields, and the file that holds some of them."""
        document = self.kind.document
        if document is None:
            return self.credential_fields
        rule = document.rule.model_copy(update={"optional": True})
        return {**self.credential_fields, document.field: rule}

    @property
    def token_field(self) -> str | None:
        """The field of a credential that is handed out as its access token; ``None``: none is, or one is issued.

        With ``custom`` the one secret that travels itself, if there is just one: what only signs is no token.
        """
        if self.type != "custom":
            return self.kind.token
        sent = placeholders("".join((*self.headers.values(), *self.query.values())))
        secret = [name for name, field in self.fields.items() if field.secret]
        return secret[0] if len(secret) == 1 and secret[0] in sent else None

    @property
    def takes_bearer(self) -> bool:
        """Whether its API takes the access token as a bearer token (RFC 6750 §2.1)."""
        if self.type == "api_key" and self.api_key is not None:
            rule = self.api_key
            spelt = (rule.place, rule.name.lower(), rule.prefix.strip().lower())
            return spelt == ("header", "authorization", "bearer")
        return self.type != "custom"

    @property
    def releases_tokens(self) -> bool:
        """Whether its connections have an access token that could be handed out."""
        return self.type == "oauth2" or self.kind.issues or self.token_field is not None


def _in_words_of(words: CredentialField | None, field: CredentialField) -> CredentialField:
    """``field``, with what the entry says of it."""
    if words is None:
        return field
    return field.model_copy(update={name: getattr(words, name) for name in words.model_fields_set})

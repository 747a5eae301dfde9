"""Kinds of credentials: what each ``type`` of provider takes from whoever hands a credential in.

A kind is named after its protocol or its shape, never after a provider. What a person or a program gives are named
fields; which of them are secret, what they look like and where to find them an entry may say in its own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from broker.providers.credential_sections import CredentialField, FieldFormat

ProviderType = Literal[
    "oauth2", "api_key", "basic", "custom", "none", "aws_sigv4", "github_app", "google_service_account"
]


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON file in which providers hand a credential out; its members may be handed in as they stand."""

    field: str
    """Under this name the whole file may be handed in, too, as text or as an object."""
    rule: CredentialField
    marks: Mapping[str, str]
    """Members by which it is known."""
    members: frozenset[str]
    """The fields that it holds."""
    others: frozenset[str]
    """Members that nobody needs."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is true of all providers of one type."""

    fields: Mapping[str, CredentialField] = field(default_factory=dict)
    """What a credential consists of, unless the entry says otherwise."""
    issues: bool = False
    """The provider issues short-lived access tokens for what was handed in, again and again, without a person."""
    token: str | None = None
    """The field that is handed out as the access token; ``None``: there is none, or one is issued."""
    document: Document | None = None


def _field(
    label: str,
    form: FieldFormat = "text",
    *,
    secret: bool = True,
    optional: bool = False,
    multiline: bool = False,
    pattern: str | None = None,
    help: str | None = None,  # noqa: A002 - the key of the file
) -> CredentialField:
    return CredentialField(
        label=label, format=form, secret=secret, optional=optional, multiline=multiline, pattern=pattern, help=help
    )


def _private_key(label: str) -> CredentialField:
    return _field(label, "private_key", multiline=True, help="all of it, from -----BEGIN to the last line")


_KEY_FILE: Final = Document(
    field="key_file",
    rule=_field("Key file", multiline=True, help="the JSON file as it was downloaded, all of it"),
    marks={"type": "service_account"},
    members=frozenset({"client_email", "private_key", "private_key_id"}),
    others=frozenset(
        {
            "type",
            "project_id",
            "client_id",
            "auth_uri",
            "token_uri",
            "auth_provider_x509_cert_url",
            "client_x509_cert_url",
            "universe_domain",
        }
    ),
)
"""A service account's, as it can be downloaded. Where tokens are issued the entry says, whatever stands in there."""


KINDS: Final[Mapping[ProviderType, Kind]] = {
    # Handed in are tokens that somebody else obtained; one of the two is enough.
    "oauth2": Kind(
        {
            "access_token": _field("Access token", "token", optional=True),
            "refresh_token": _field("Refresh token", "token", optional=True),
            "expires_at": _field("End of the access token", secret=False, optional=True),
            "scope": _field("Granted scopes", secret=False, optional=True),
        },
    ),
    "api_key": Kind({"api_key": _field("API key", "token")}, token="api_key"),  # noqa: S106 - the name of a field
    "basic": Kind(
        {
            # RFC 7617 §2: the colon ends it.
            "username": _field("User name", secret=False, pattern="[^:]*", help="without a colon"),
            "password": _field("Password"),
            "domain": _field("Domain", secret=False, optional=True),
        },
    ),
    "custom": Kind(),
    "none": Kind(),
    "aws_sigv4": Kind(
        {
            "access_key_id": _field("Access key ID", "token", secret=False),
            "secret_access_key": _field("Secret access key", "token"),
            "session_token": _field("Session token", "token", optional=True),
        },
    ),
    "github_app": Kind({"installation_id": _field("Installation ID", "digits", secret=False)}, issues=True),
    "google_service_account": Kind(
        {
            "client_email": _field("Service account", "token", secret=False),
            "private_key": _private_key("Private key"),
            "private_key_id": _field("Key ID", "token", secret=False, optional=True),
            "subject": _field("Act as this user", "token", secret=False, optional=True),
        },
        issues=True,
        document=_KEY_FILE,
    ),
}
"""Every type that an entry may have."""

APP_FIELDS: Final[Mapping[str, CredentialField]] = {
    "client_id": _field("Client ID of the app", "token", secret=False),
    "private_key": _private_key("Private key of the app"),
}
"""What a ``github_app`` credential needs besides, where the entry doesn't say it for all."""

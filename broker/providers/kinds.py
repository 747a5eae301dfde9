"""Kinds of credentials: what each ``type`` of provider takes from whoever hands a credential in.

A kind is named after its protocol or its shape, never after a provider. What a person or a program gives are named
fields; which of them are secret, what they look like and where to find them an entry may say in its own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from broker.providers.credential_sections import CredentialField

ProviderType = Literal[
    "oauth2", "api_key", "basic", "custom", "none", "aws_sigv4", "github_app", "google_service_account"
]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is true of all providers of one type."""

    fields: Mapping[str, CredentialField] = field(default_factory=dict)
    """What a credential consists of, unless the entry says otherwise."""
    issues: bool = False
    """The provider issues short-lived access tokens for what was handed in, again and again, without a person."""
    token: str | None = None
    """The field that is handed out as the access token; ``None``: there is none, or one is issued."""


def _field(label: str, *, secret: bool = True, optional: bool = False, multiline: bool = False) -> CredentialField:
    return CredentialField(label=label, secret=secret, optional=optional, multiline=multiline)


KINDS: Final[Mapping[ProviderType, Kind]] = {
    # Handed in are tokens that somebody else obtained.
    "oauth2": Kind(
        {
            "access_token": _field("Access token"),
            "refresh_token": _field("Refresh token", optional=True),
            "expires_at": _field("End of the access token", secret=False, optional=True),
            "scope": _field("Granted scopes", secret=False, optional=True),
        },
    ),
    "api_key": Kind({"api_key": _field("API key")}, token="api_key"),  # noqa: S106 - the name of a field
    "basic": Kind(
        {
            "username": _field("User name", secret=False),
            "password": _field("Password"),
            "domain": _field("Domain", secret=False, optional=True),
        },
    ),
    "custom": Kind(),
    "none": Kind(),
    "aws_sigv4": Kind(
        {
            "access_key_id": _field("Access key ID", secret=False),
            "secret_access_key": _field("Secret access key"),
            "session_token": _field("Session token", optional=True),
        },
    ),
    "github_app": Kind({"installation_id": _field("Installation ID", secret=False)}, issues=True),
    "google_service_account": Kind(
        {
            "client_email": _field("Service account", secret=False),
            "private_key": _field("Private key", multiline=True),
            "private_key_id": _field("Key ID", secret=False, optional=True),
            "subject": _field("Act as this user", secret=False, optional=True),
        },
        issues=True,
    ),
}
"""Every type that an entry may have."""

APP_FIELDS: Final[Mapping[str, CredentialField]] = {
    "client_id": _field("Client ID of the app", secret=False),
    "private_key": _field("Private key of the app", multiline=True),
}
"""What a ``github_app`` credential needs besides, where the entry doesn't say it for all."""

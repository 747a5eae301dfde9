"""What can be said of a provider: where it is reached, what it insists on, and what its answers look like.

Addresses are those of the provider without the scheme: ``api.example.com/v1/me``. Bodies of answers are templates, see
``templates``. All that is left out is as the RFCs have it.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from broker.sandbox.behaviour import Rotation

ClientAuth = Literal["client_secret_basic", "client_secret_post"]
Encoding = Literal["form", "json"]
Needs = dict[str, str | None]
"""What has to be sent, by name; ``null``: any value."""


class Part(BaseModel):
    """Base of all that is described; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(Part):
    """An answer of the provider."""

    status: int = Field(default=200, ge=200, le=599)
    headers: dict[str, str] = {}
    body: JsonValue = None
    """``null``: an empty body."""


class App(Part):
    """The app that is registered there."""

    client_id: str = "practice-client"
    client_secret: str = Field(default="practice-secret", repr=False)
    public_key: str | None = None
    """PEM; of an app that signs for itself."""


class Person(Part):
    """Whose account it is: what tells accounts apart, and what a person recognises it by, if anything."""

    id: str | int = 1001
    name: str | None = "Alice Practice"


class Authorize(Part):
    """The authorization endpoint."""

    at: str
    scope_param: str | None = "scope"
    """``None``: the provider has no scopes."""
    scope_separator: str = " "
    scope_form: str = r"[!-~]+"
    """A regular expression that all of its scopes match."""
    pkce: Literal["required", "taken", "ignored", "refused"] = "taken"
    """``taken``: checked where it is used."""
    params: Needs = {}
    iss: str | None = None
    """Sent back with the code (RFC 9207)."""
    denied: str = "access_denied"
    """The error when the person says no."""


class Refresh(Part):
    """What the provider does with refresh tokens."""

    rotation: Rotation = Rotation.NONE
    grace: int = 0
    """Seconds."""
    params: Needs = {}
    answer: JsonValue = None
    """``null``: as the code is answered."""


class Token(Part):
    """The token endpoint."""

    at: str
    auth: tuple[ClientAuth, ...] = ("client_secret_basic", "client_secret_post")
    body: tuple[Encoding, ...] = ("form",)
    """How requests may be encoded."""
    params: Needs = {}
    headers: Needs = {}
    speaks: Literal["json", "form", "what_is_asked_for"] = "json"
    """How answers are encoded; ``what_is_asked_for``: JSON for those who accept it, a form otherwise."""
    scope_separator: str = " "
    """In answers."""
    unlisted_scopes: tuple[str, ...] = ()
    """What answers don't list though it was granted."""
    lives: int | None = Field(default=3600, gt=0)
    """Seconds an access token lives; ``null``: for ever."""
    answer: JsonValue
    refresh: Refresh | None = None
    """``null``: there are no refresh tokens."""
    assertions: bool = False
    """Whether service accounts get tokens here (RFC 7523)."""
    refusals: dict[str, Answer] = {}
    """By what is wrong: ``invalid_code``, ``invalid_refresh_token``, a code of RFC 6749 §5.2 or RFC 8628 §3.5, or
    ``*`` for all others. Left out: as these have it."""


class Device(Part):
    """The provider's own device grant (RFC 8628)."""

    at: str
    auth: tuple[ClientAuth | Literal["none"], ...] = ("none", "client_secret_basic", "client_secret_post")
    body: tuple[Encoding, ...] = ("form",)
    headers: Needs = {}
    answer: JsonValue
    interval: int = 5
    lives: int = 900


class Revoke(Part):
    """Where tokens are given back."""

    at: str
    method: Literal["POST", "DELETE", "GET"] = "POST"
    by: Literal["client", "token"] = "client"
    """Who authenticates: the app, or the token itself as a bearer."""
    auth: tuple[ClientAuth | Literal["none"], ...] = ("client_secret_basic", "client_secret_post")
    body: tuple[Encoding, ...] = ("form",)
    field: str = "token"
    """What the token is called in the body."""
    takes: tuple[Literal["access_token", "refresh_token"], ...] = ("access_token", "refresh_token")
    headers: Needs = {}
    ends: Literal["token", "grant", "account"] = "grant"
    """``account``: all that the person ever allowed the app."""
    answer: Answer = Answer()
    refused: Answer = Answer(status=400, body={"error": "invalid_request"})


class Credential(Part):
    """How a request to the API says whose it is."""

    scheme: Literal["bearer", "bare", "header", "query", "basic", "aws_sigv4"] = "bearer"
    """``bare``: in ``Authorization`` without a word before it. ``header`` and ``query``: under ``name``."""
    name: str = ""
    keys: tuple[str, ...] = Field(default=(), repr=False)
    """What was handed out by hand: the key, or user and password, or access key and secret with a blank between."""


class Whoami(Part):
    """Says whose a credential is."""

    at: str
    method: Literal["GET", "POST"] = "GET"
    params: Needs = {}
    headers: Needs = {}
    needs_scope: str | None = None
    asks_for: tuple[str, ...] = ()
    """Words that have to stand in the request's body, which is JSON then."""
    signed_for: str = ""
    """With ``aws_sigv4``: region and service, ``us-east-1/sts``."""
    answer: Answer
    refused: Answer = Answer(status=401, body={"error": "invalid_token"})


class Api(Part):
    """The API: all that lies below an address."""

    at: str
    headers: Needs = {}
    signed_for: str = ""
    """As a whoami's."""


class Document(Part):
    """What anybody may read, as metadata."""

    at: str
    answer: Answer


class Installations(Part):
    """Where an app that signs for itself gets tokens for an installation."""

    at: str
    """With ``{installation_id}``."""
    ids: tuple[str, ...]
    """Where it is installed."""
    headers: Needs = {}
    answer: Answer


class Description(Part):
    """A provider."""

    app: App = App()
    account: Person = Person()
    credential: Credential = Credential()
    authorize: Authorize | None = None
    token: Token | None = None
    device: Device | None = None
    revoke: Revoke | None = None
    whoami: Whoami | None = None
    api: Api | None = None
    documents: tuple[Document, ...] = ()
    installations: Installations | None = None
    service_accounts: dict[str, dict[str, str]] = {}
    """E-mail address → key id → public key (PEM)."""

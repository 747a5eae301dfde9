"""What requests of the JSON face may say. Unknown fields are faults, ``null`` is absent, lengths are bounded."""

from collections.abc import Set
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from broker.access.allow import ENTRIES_AT_MOST, ENTRY_LENGTH
from broker.access.references import LONGEST, MOST_USES
from broker.access.registration import WORKLOADS_AT_MOST
from broker.models.connection import Status
from broker.models.metadata import LONGEST_NAME, MEMBERS, fault_of_metadata

_NULL: Final = {"type": "null"}


def _without_fraction(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE: Final = BeforeValidator(_without_fraction)
"""JSON has one kind of number: ``60.0`` is ``60`` (RFC 8259 §6)."""


Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Subject = Annotated[str, StringConstraints(min_length=1, max_length=255)]
"""An end user (or system) as the calling app names them; opaque to the broker."""
Label = Annotated[str, StringConstraints(max_length=200)]
Scope = Annotated[str, StringConstraints(min_length=1, max_length=255)]
ScopeToken = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
"""One scope, without spaces (RFC 6749 §3.3)."""
AllowEntry = Annotated[str, StringConstraints(min_length=1, max_length=ENTRY_LENGTH)]
"""A method, a space and a path below the provider's ``api.base_url``: ``GET /repos/*``."""
Parameters = Annotated[dict[Name, Annotated[str, StringConstraints(max_length=255)]], Field(max_length=20)]


def _check_metadata(metadata: dict[str, object]) -> dict[str, object]:
    fault = fault_of_metadata(metadata)
    if fault is not None:
        raise PydanticCustomError("metadata", fault)
    return metadata


Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_check_metadata),
    Field(json_schema_extra={"maxProperties": MEMBERS, "propertyNames": {"maxLength": LONGEST_NAME}}),
]
"""The app's own notes: any JSON object of bounded size and depth; answered as it came."""


class Body(BaseModel):
    """Base of all bodies and queries."""

    model_config = ConfigDict(
        extra="forbid",
        # A number in quotes is a text, and ``true`` is no number: the schema says so, and so do other languages.
        strict=True,
        hide_input_in_errors=True,
        # RFC 8259 knows no NaN and no Infinity; nor could they be answered.
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # see Described
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: object) -> object:
        """Many languages write a field that is not set as ``null``. Of a field that does not exist it stays a fault."""
        if not isinstance(given, dict) or None not in given.values():
            return given
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {name: value for name, value in given.items() if value is not None or name not in known}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, in which every optional field may be ``null``."""
        shown = handler(core_schema)
        schema = handler.resolve_ref_schema(shown)
        for name, member in schema["properties"].items():
            if name not in schema.get("required", ()) and _NULL not in member.get("anyOf", ()):
                words = {word: member.pop(word) for word in ("description", "default") if word in member}
                schema["properties"][name] = {"anyOf": [member, _NULL], **words}
        return shown


class OpenConnectSession(Body):
    """Open a connect session: one attempt of one subject to make or renew one connection."""

    provider: Name
    subject: Subject
    subject_name: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Shown to the person, so that they see for whom they connect."""
    scopes: Annotated[list[Scope], Field(max_length=100)] = []
    """Provider scopes; empty = the provider's defaults."""
    parameters: Parameters = {}
    return_url: Annotated[str, StringConstraints(max_length=2048)] | None = None
    """One of the client's registered return addresses; where one is registered, it is the default."""
    state: Annotated[str, StringConstraints(max_length=1024)] | None = Field(default=None, repr=False)
    """Echoed to ``return_url``."""
    connection_id: str | None = None
    """The connection to renew."""
    allow_account_change: bool = False
    """Let a renewed connection stand for another account than before."""
    label: Label | None = None
    metadata: Metadata = {}
    completion: Literal["app", "code", "browser"] | None = None
    """Who confirms the subject; ``app`` by default, or ``code`` for a client without return addresses."""


class CompleteConnectSession(Body):
    """Complete a session: the code that came back, and the subject that is signed in at the app now."""

    completion_code: Annotated[str, StringConstraints(min_length=1, max_length=100), Field(repr=False)]
    subject: Subject


class CreateConnection(Body):
    """Make a connection without a browser."""

    provider: Name
    subject: Subject
    credentials: Annotated[dict[str, Any], Field(repr=False)]
    """What the provider's type takes, see ``credential_fields`` of the provider; ``{}`` for the provider's client
    credentials grant."""
    scopes: Annotated[list[Scope], Field(max_length=100)] = []
    parameters: Parameters = {}
    label: Label | None = None
    metadata: Metadata = {}
    validate_: Annotated[bool, Field(alias="validate")] = True
    """Ask the provider whose account it is before anything is stored. ``false``: the account stays unknown."""


class PatchConnection(Body):
    """A merge patch (RFC 7396) of a connection: what is not named stays, and ``null`` takes away what is there."""

    label: Label | None = None
    metadata: Metadata | None = None
    """Merged with what is there, member by member."""
    status: Literal["active", "disabled"] | None = None
    """``disabled``: switched off, until it is switched on again."""
    fallback: Annotated[str, StringConstraints(max_length=100)] | None = None
    """The connection that serves while this one has to be authorized again; of the same account."""
    credentials: Annotated[dict[str, Any] | None, Field(repr=False)] = None
    """A new credential, which is validated before it takes the place of the old one."""
    scopes: Annotated[list[Scope], Field(max_length=100)] = []
    """What the new credential has to be good for; by default what the old one was made for."""
    validate_: Annotated[bool, Field(alias="validate")] = True
    """Ask the provider before the new credential is stored."""
    allow_account_change: bool = False
    """Let the new credential be another account's."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: object) -> object:
        """Here it says something, except of what only goes with ``credentials``."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None or name not in _ABSENT_IF_NULL}

    @model_validator(mode="after")
    def _goes_with_credentials(self) -> Self:
        idle = {"scopes", "validate_", "allow_account_change"} & self.model_fields_set
        if idle and "credentials" not in self.model_fields_set:
            raise PydanticCustomError("alone", "scopes, validate and allow_account_change only go with credentials")
        return self


_ABSENT_IF_NULL: Final = frozenset({"status", "credentials", "scopes", "validate", "allow_account_change"})


class FetchToken(Body):
    """Fetch an access token."""

    min_ttl: Annotated[int, Field(ge=0, le=86_400), _WHOLE] = 0
    """Seconds the token must still live; one just refreshed is answered even if it lives shorter."""
    stale_generation: Annotated[int, Field(ge=1), _WHOLE] | None = None
    """The generation that the provider refused: refresh if it is still the current one."""


class AuthorizeRequest(Body):
    """A request to the provider's API, as far as it is to be signed."""

    method: Annotated[str, StringConstraints(max_length=20, pattern=r"^[A-Za-z]+$")]
    url: Annotated[str, StringConstraints(min_length=1, max_length=8192)]
    """Whole, with its query, as it will be sent; at the host of the provider's ``api.base_url``."""
    headers: Annotated[
        dict[
            Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")],
            Annotated[str, StringConstraints(max_length=4096, pattern=r"^[\t\x20-\x7e]*$")],
        ],
        Field(max_length=50),
    ] = {}
    """Those that a signature may cover."""
    body_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$")] | None = None
    """Of the body, in hex; absent: the request has none."""


class IssueReference(Body):
    """Issue a reference to this connection."""

    audience: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    """The client_id of the client that may redeem it."""
    expires_in: Annotated[int, Field(ge=1, le=LONGEST), _WHOLE] = 300
    """Seconds."""
    max_uses: Annotated[int, Field(ge=1, le=MOST_USES), _WHOLE] = 1
    required_scopes: Annotated[list[ScopeToken], Field(max_length=100)] = []
    """Provider scopes that whoever redeems it counts on. Looked for now, and again each time it is redeemed."""


class RegisterWorkload(Body):
    """A program that its platform vouches for; compared character by character."""

    issuer: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    subject: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    audience: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    jwks: dict[str, Any] | None = None
    """The issuer's keys (RFC 7517 §5); absent = found by its metadata."""


class CreateClient(Body):
    """Register a client in the caller's tenant."""

    name: Name
    scope: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """Client scopes, separated by spaces."""
    return_urls: Annotated[list[str], Field(max_length=50)] = []
    providers: Annotated[list[Name], Field(max_length=500)] | None = None
    """Absent = every provider."""
    completion: Literal["browser"] | None = None
    jwks: dict[str, Any] | None = None
    """The client's own public keys (RFC 7517 §5), for ``private_key_jwt``. A client with keys or workloads gets no
    secret."""
    jwks_uri: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    """Where they are published instead."""
    workloads: Annotated[list[RegisterWorkload], Field(max_length=WORKLOADS_AT_MOST)] = []
    """Whose platform tokens stand for the client."""
    device: bool = False
    """Whether machines may log in through it (RFC 8628)."""
    public: bool = False
    """It can't keep a secret, so it gets none: a program that many people install. It can only log machines in."""
    allow: Annotated[list[AllowEntry], Field(min_length=1, max_length=ENTRIES_AT_MOST)] | None = None
    """The only requests to providers' APIs that it may make, through the proxy: ``GET /repos/*/issues``,
    ``* /public/**``. Absent = every request."""


class Paging(Body):
    """Which part of a list."""

    # A query says everything in text.
    model_config = ConfigDict(strict=False)

    cursor: Annotated[str, StringConstraints(max_length=4096, pattern="^[A-Za-z0-9_=-]*$")] | None = None
    """The ``next_cursor`` of the page before."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, given: dict[str, str]) -> dict[str, str]:
        """As in a form (RFC 6749 §3.2). But who has lost a user's name must not be shown everybody's connections."""
        return {name: value for name, value in given.items() if value or name not in cls._may_be_empty()}

    @classmethod
    def _may_be_empty(cls) -> Set[str]:
        return cls.model_fields.keys() - {"subject"}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, in which a text may be empty where that means that it is absent."""
        shown = super().__get_pydantic_json_schema__(core_schema, handler)
        properties = handler.resolve_ref_schema(shown)["properties"]
        for name in cls._may_be_empty():
            for alternative in properties[name].get("anyOf", ()):
                alternative.pop("minLength", None)
        return shown


class ListConnections(Paging):
    """Which connections."""

    subject: Subject | None = None
    provider: Name | None = None
    status: Status | None = None


class ListEvents(Paging):
    """Which events."""

    type: Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9._]*$")] | None = None
    """Only events of this type, such as ``token.released``."""

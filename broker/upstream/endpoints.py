"""Where a call goes: a provider's entry, a connection's parameters and an issuer's metadata, combined."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from broker.errors import ProviderError
from broker.providers.schema import Provider, Revocation
from broker.providers.sections import TokenKind
from broker.upstream.metadata import Metadata, same_origin
from broker.upstream.parameters import fill, host_is_fixed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to call. ``trusted``: the operator wrote its host; otherwise the guard watches the call."""

    url: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class RevocationEndpoint(Endpoint):
    """Where and how a token is given back; the fields are those of
    :class:`~broker.providers.schema.Revocation`."""

    style: Literal["rfc7009", "rfc7009_json", "bearer_post", "basic_delete_json"]
    token: TokenKind
    effect: Literal["token", "grant"]


@dataclass(frozen=True, slots=True)
class IdentityEndpoint(Endpoint):
    """The whoami. ``id`` and ``error`` are JSON pointers; of the pointers ``names``, the first that leads to text
    counts. The other fields are those of :class:`~broker.providers.schema.Identity`."""

    method: Literal["GET", "POST"]
    id: str
    names: tuple[str, ...]
    headers: Mapping[str, str]
    body: Mapping[str, str] = field(default_factory=dict)
    error: str = "/error"
    invalid_token: tuple[str, ...] = ()
    userinfo: bool = False
    """It is OpenID's, merely discovered: it serves only what a person granted with the scope ``openid``."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """A provider as one connection sees it."""

    token: Endpoint | None
    """``None``: its credentials are not issued by an endpoint."""
    token_auth_method: str
    authorization: str | None
    """Where browsers go; the broker never calls it."""
    device_authorization: Endpoint | None
    revocation: RevocationEndpoint | None
    identity: IdentityEndpoint | None
    issuer: str | None
    """The ``iss`` that authorization answers carry if they carry one (RFC 9207)."""
    minted_by: str
    """Whose the credentials are that are obtained here: the entry's issuer, or the origin of its token endpoint. What
    authorization answers carry doesn't count, so an entry can be hardened without its connections being lost."""
    issuer_required: bool
    """Whether an authorization answer without ``iss`` is to be refused."""
    code_challenge_methods: tuple[str, ...] | None
    """What the metadata lists; ``None``: it says nothing, or wasn't asked."""

    @property
    def issuing(self) -> Endpoint:
        """The token endpoint.

        :raises ProviderError: there is none.
        """
        if self.token is None:
            raise ProviderError("the provider has no token endpoint")
        return self.token


def needs_discovery(provider: Provider) -> bool:
    """Whether an endpoint that the entry's grants need is left out, so that the issuer has to be asked."""
    return provider.issuer is not None and (
        provider.token_endpoint is None
        or ("authorization_code" in provider.grant_types and provider.authorization_endpoint is None)
        or ("device_code" in provider.grant_types and provider.device_authorization_endpoint is None)
    )


def resolve(provider: Provider, values: Mapping[str, str], metadata: Metadata | None) -> Endpoints:
    """The endpoints of ``provider`` for the checked parameter ``values``. What the entry says wins over
    metadata.

    :raises ProviderError: no token endpoint is known.
    """
    found = metadata or Metadata(issuer="")
    token = None
    if provider.type != "github_app":  # Its address depends on what was handed in.
        token = _endpoint(provider, provider.token_endpoint, found.token_endpoint, values)
    if token is None and provider.type == "oauth2":
        raise ProviderError(f"the metadata of provider {provider.name} names no token endpoint")
    authorization = provider.authorization_endpoint
    issuer = provider.authorization_response_iss or provider.issuer
    return Endpoints(
        token=token,
        token_auth_method=_auth_method(provider, found),
        authorization=fill(authorization, values) if authorization else found.authorization_endpoint,
        device_authorization=_endpoint(
            provider, provider.device_authorization_endpoint, found.device_authorization_endpoint, values
        ),
        revocation=_revocation(provider, found, values),
        identity=_identity(provider, found, values),
        issuer=fill(issuer, values) if issuer else None,
        minted_by=fill(provider.issuer, values) if provider.issuer else _origin(provider, token, values),
        issuer_required=provider.authorization_response_iss is not None
        or found.authorization_response_iss_parameter_supported,
        code_challenge_methods=found.code_challenge_methods_supported,
    )


def _origin(provider: Provider, token: Endpoint | None, values: Mapping[str, str]) -> str:
    """Where credentials come from: the origin of the token endpoint, or of the API where nothing else issues them."""
    if token is None and provider.api is None:
        return ""
    parts = urlsplit(token.url if token else fill(provider.api.base_url if provider.api else "", values))
    return f"{parts.scheme}://{parts.netloc}"


def _endpoint(
    provider: Provider, written: str | None, discovered: str | None, values: Mapping[str, str]
) -> Endpoint | None:
    if written is not None:
        return Endpoint(fill(written, values), host_is_fixed(written))
    if discovered is None or provider.issuer is None:
        return None
    # On the origin of an issuer whose host the operator wrote, it is as if the operator had written it too.
    trusted = host_is_fixed(provider.issuer) and same_origin(discovered, fill(provider.issuer, values))
    return Endpoint(discovered, trusted)


def _revocation(provider: Provider, found: Metadata, values: Mapping[str, str]) -> RevocationEndpoint | None:
    rule = provider.revocation
    # The client id is the operator's own, so it takes nothing away from the address's standing.
    client_id = quote(provider.client_id or "", safe="")
    written = rule.endpoint.replace("{client_id}", client_id) if rule else None
    endpoint = _endpoint(provider, written, found.revocation_endpoint, values)
    if endpoint is None:
        return None
    rule = rule or Revocation(endpoint=endpoint.url)
    return RevocationEndpoint(endpoint.url, endpoint.trusted, rule.style, rule.token_to_send, rule.effect)


def _identity(provider: Provider, found: Metadata, values: Mapping[str, str]) -> IdentityEndpoint | None:
    rule = provider.identity
    endpoint = _endpoint(provider, rule.url if rule else None, found.userinfo_endpoint, values)
    if endpoint is None:
        return None
    if rule is None:  # OpenID Connect Core §5.3
        return IdentityEndpoint(endpoint.url, endpoint.trusted, "GET", "/sub", ("/email", "/name"), {}, userinfo=True)
    names = (rule.name,) if rule.name else ()
    return IdentityEndpoint(
        endpoint.url,
        endpoint.trusted,
        rule.method,
        rule.id,
        names,
        rule.headers,
        rule.body,
        rule.error,
        rule.invalid_token,
    )


def _auth_method(provider: Provider, found: Metadata) -> str:
    """The entry's method; where it names none, one that the metadata offers and that we can do."""
    offered = found.token_endpoint_auth_methods_supported
    method: str = provider.token_endpoint_auth_method
    if offered is None or method in offered or "token_endpoint_auth_method" in provider.model_fields_set:
        return method
    return "client_secret_post" if "client_secret_post" in offered else method

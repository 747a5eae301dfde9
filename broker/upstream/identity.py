"""The provider's whoami: proves that an access token works, and says whose account it is."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlencode

from broker.clock import Clock
from broker.errors import ProviderError, ProviderRefused
from broker.models.account import Account
from broker.models.connection import Credential, Whoami
from broker.providers.schema import Provider
from broker.upstream.answers import Unspeakable, raise_if_unavailable, read_object, refusal_in
from broker.upstream.egress import Egress, InboundResponse, OutboundRequest
from broker.upstream.endpoints import Endpoints, IdentityEndpoint
from broker.upstream.json_pointer import lookup
from broker.upstream.schemes.request import Signature, Unsigned
from broker.upstream.schemes.signing import sign
from broker.upstream.token_response import read_scopes

_MAX_ID = 255
_MAX_NAME = 200


async def identify(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    endpoints: Endpoints,
    *,
    values: Mapping[str, str],
    credential: Credential,
    credential_type: str,
    scopes: Sequence[str],
) -> Whoami | None:
    """Ask who ``credential`` belongs to, and what it may do; ``None`` where the provider has no whoami for such a one.

    :param values: the connection's checked parameters.
    :param credential_type: the connection's.
    :param scopes: what was granted.
    :raises ProviderRefused: the provider does not accept the credential (``invalid_token``: on a 401, or where the
        entry says so of the error), or says another error.
    :raises ProviderError: it refused without a readable error, or its answer lacks the account's id.
    :raises ProviderUnavailable: it can't be asked now; nothing is known about the token.
    """
    rule = endpoints.identity
    if rule is None or (rule.userinfo and not _is_openid(credential_type, scopes)):
        return None
    request, signature = build_request(rule, provider, values, credential, now=clock())
    answer = await egress.send(request, deadline=provider.timeout, trusted=rule.trusted)
    shown = [credential.fields[name] for name in provider.public_fields if name in credential.fields]
    # Also as it was sent, for that is what providers repeat.
    unspeakable = [*credential.secrets_without(provider.public_fields), *signature.secrets_without(shown)]
    if provider.client_secret is not None:
        unspeakable.append(provider.client_secret.get_secret_value())
    account = parse_account(rule, answer, secrets=unspeakable, now=clock())
    return Whoami(account, _granted(provider, answer, Unspeakable(unspeakable)))


def _granted(provider: Provider, answer: InboundResponse, unspeakable: Unspeakable) -> tuple[str, ...] | None:
    """What the credential may do, where the entry says where the answer lists it."""
    rule = provider.identity
    if rule is None:
        return None
    said: object = None
    if rule.scopes_header is not None:
        said = answer.headers.get(rule.scopes_header.lower())
    elif rule.scopes is not None:
        said = lookup(read_object(answer) or {}, rule.scopes)
    scopes = read_scopes(provider, said)
    return scopes and tuple(scope for scope in scopes if not unspeakable.repeated_in(scope))


def _is_openid(credential_type: str, scopes: Sequence[str]) -> bool:
    """Whether the token came from an OpenID authentication, as the UserInfo endpoint wants it (OpenID Connect
    Core §5.3): a person took part, and ``openid`` was granted (§3.1.2.1)."""
    return credential_type != "client_credentials" and "openid" in scopes


def build_request(
    rule: IdentityEndpoint, provider: Provider, values: Mapping[str, str], credential: Credential, *, now: int
) -> tuple[OutboundRequest, Signature]:
    """The call, with what the entry adds and what makes it the connection's; and the latter by itself."""
    headers = {"accept": "application/json", **{name.lower(): value for name, value in rule.headers.items()}}
    body = json.dumps(dict(rule.body)).encode() if rule.body else b""
    if body:
        headers["content-type"] = "application/json"
    if provider.identity is not None and provider.identity.aws is not None:
        provider = provider.model_copy(update={"aws": provider.identity.aws})
    unsigned = Unsigned(rule.method, rule.url, headers, body, hashlib.sha256(body).hexdigest())
    signature = sign(provider, values, credential, unsigned, now=now)
    url = rule.url
    if signature.query:
        url += ("&" if "?" in url else "?") + urlencode(signature.query)
    return OutboundRequest(rule.method, url, {**headers, **signature.headers}, body), signature


def parse_account(rule: IdentityEndpoint, answer: InboundResponse, *, secrets: Collection[str], now: int) -> Account:
    """Read the answer.

    :param secrets: what nothing of it may repeat.
    :param now: milliseconds since the epoch.
    :raises BrokerError: as :func:`identify`.
    """
    raise_if_unavailable(answer, now=now)
    document = read_object(answer)
    refusal = refusal_in(document or {}, error=rule.error, secrets=secrets)
    if answer.status == 401:
        # Whatever it calls it; why, helps whoever describes a scheme.
        why = f": {refusal.description}" if refusal and refusal.description else ""
        raise ProviderRefused("invalid_token", f"the provider does not accept the credential{why}", http_status=401)
    if refusal is not None:
        code = "invalid_token" if refusal.code in rule.invalid_token else refusal.code
        raise ProviderRefused(code, f"the provider refused: {refusal}", http_status=answer.status)
    if answer.status >= 300 or document is None:
        error = ProviderError(f"the provider did not say whose account it is (HTTP {answer.status})")
        error.http_status = answer.status
        raise error
    account_id = _text(lookup(document, rule.id))
    if not account_id or len(account_id) > _MAX_ID:
        raise ProviderError("the provider's answer lacks the account's id")
    unspeakable = Unspeakable(secrets)
    if unspeakable.repeated_in(account_id):
        raise ProviderError("the provider's answer holds a credential where the account's id should be")
    names = (_text(lookup(document, pointer))[:_MAX_NAME] for pointer in rule.names)
    return Account(account_id, next((name for name in names if name and not unspeakable.repeated_in(name)), None))


def _text(value: object) -> str:
    """``value`` as printable text; numbers are ids too, truth values are not."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return "".join(character for character in str(value) if character.isprintable()).strip()

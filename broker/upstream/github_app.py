"""Access tokens for an installation of an app: the app proves who it is by a JWT, and names the installation.

Source: "Authenticating as a GitHub App installation" and "Generating a JSON Web Token for a GitHub App" in GitHub's
REST documentation, and what else speaks the same protocol.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final

from broker.clock import Clock
from broker.errors import InvalidRequest, OutcomeUnknown, ProviderError, ProviderRefused
from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream.answers import Unspeakable, raise_if_unavailable, read_object, safe_text
from broker.upstream.egress import Egress, InboundResponse, OutboundRequest
from broker.upstream.parameters import fill, host_is_fixed
from broker.upstream.signed_assertion import BACKDATED, sign_assertion
from broker.upstream.token_response import CAUTIOUS_LIFETIME, TokenSet, read_token, whole_seconds

_PATH: Final = "/app/installations/{installation_id}/access_tokens"
_LIVES: Final = 540
"""Seconds ahead that the app's JWT ends: ten minutes are taken, less what it is backdated by."""
_INSTALLATION: Final = re.compile(r"[0-9]{1,20}")
_MOST_PERMISSIONS: Final = 200
_PERMISSION: Final = re.compile(r"[\x21-\x7e]{1,120}")


async def issue(
    egress: Egress,
    clock: Clock,
    provider: Provider,
    *,
    values: Mapping[str, str],
    credential: Credential,
    scopes: Sequence[str],
) -> TokenSet:
    """A token for the installation.

    :param values: the connection's checked parameters.
    :param scopes: permissions as ``name:level`` to which the token is narrowed; none: all that the installation has.
    :raises ProviderRefused: ``invalid_grant``: the installation is gone, or the key that was handed in is not accepted.
        ``invalid_client``: the entry's own key isn't. ``invalid_scope``: it has not all of these permissions.
    :raises ProviderError, ProviderUnavailable: otherwise.
    """
    fields, asked_at = credential.fields, clock()
    own_key = "private_key" in fields
    jwt = build_jwt(provider, fields, now=asked_at)
    template = provider.token_endpoint or f"{provider.api.base_url.rstrip('/') if provider.api else ''}{_PATH}"
    request = build_request(provider, template, values, fields["installation_id"], jwt, scopes)
    answer = await egress.send(request, deadline=provider.timeout, trusted=host_is_fixed(template))
    secrets = [*credential.secrets_without(provider.public_fields), jwt]
    return parse_answer(answer, own_key=own_key, asked_at=asked_at, now=clock(), secrets=secrets)


def build_jwt(provider: Provider, fields: Mapping[str, str], *, now: int) -> str:
    """What proves to be the app.

    :param now: milliseconds since the epoch.
    :raises NotSent: the key can't be used.
    """
    configured = provider.private_key.get_secret_value() if provider.private_key else ""
    issued = now // 1000 - BACKDATED
    claims = {"iss": fields.get("client_id") or provider.client_id or "", "iat": issued}
    return sign_assertion({**claims, "exp": issued + BACKDATED + _LIVES}, fields.get("private_key") or configured)


def build_request(
    provider: Provider,
    template: str,
    values: Mapping[str, str],
    installation_id: str,
    jwt: str,
    scopes: Sequence[str],
) -> OutboundRequest:
    """The POST, narrowed to ``scopes`` where there are any.

    :raises InvalidRequest: the installation's id, or a scope, doesn't look like one.
    """
    if not _INSTALLATION.fullmatch(installation_id):
        # It becomes a part of the path.
        raise InvalidRequest("an installation's id is a number")
    headers = {"accept": "application/json", "authorization": f"Bearer {jwt}"}
    headers |= {name.lower(): value for name, value in provider.token_headers.items()}
    body = b""
    if scopes:
        pairs = [scope.partition(":") for scope in scopes]
        if not all(name and level for name, _, level in pairs):
            raise InvalidRequest("a scope of an installation is a permission and its level, name:level")
        body = json.dumps({"permissions": {name: level for name, _, level in pairs}}).encode()
        headers["content-type"] = "application/json"
    url = fill(template, {**values, "installation_id": installation_id})
    return OutboundRequest("POST", url, headers, body)


def parse_answer(
    answer: InboundResponse, *, own_key: bool, asked_at: int, now: int, secrets: Collection[str]
) -> TokenSet:
    """Read the answer. Times are in milliseconds since the epoch.

    :param own_key: the app's key was handed in.
    :param secrets: what no error may repeat.
    :raises BrokerError: as :func:`issue`.
    """
    raise_if_unavailable(answer, now=now)
    document = read_object(answer) or {}
    token = read_token(document.get("token"))
    unspeakable = [*secrets, *([token] if token else [])]
    if answer.status >= 300:
        raise _refusal(answer.status, document, own_key=own_key, secrets=unspeakable)
    if token is None:
        raise OutcomeUnknown(f"the provider answered HTTP {answer.status} without a readable token")
    return TokenSet(
        access_token=token,
        refresh_token=None,
        expires_in=_lifetime(document.get("expires_at"), answer, asked_at=asked_at),
        scopes=_scopes(document.get("permissions"), Unspeakable(unspeakable)),
        asked_at=asked_at,
    )


def _refusal(status: int, document: Mapping[str, object], *, own_key: bool, secrets: Collection[str]) -> ProviderError:
    said = safe_text(document.get("message"), limit=200, secrets=secrets)
    words = f" ({said})" if said else ""
    match status:
        case 401:
            code = "invalid_grant" if own_key else "invalid_client"
            return ProviderRefused(code, f"the provider does not accept the app's key{words}", http_status=status)
        case 404:
            return ProviderRefused("invalid_grant", f"the app is not installed there{words}", http_status=status)
        case 422:
            return ProviderRefused("invalid_scope", f"not all permissions are there{words}", http_status=status)
        case _:
            error = ProviderError(f"the provider refused (HTTP {status}){words}")
            error.http_status = status
            return error


def _lifetime(ends: object, answer: InboundResponse, *, asked_at: int) -> int | None:
    """Seconds that the token lives, by our clock or by the provider's, as its answer shows it: the shorter, so that it
    is not served after its end whichever of the two is slow."""
    if ends is None:
        return None
    since = [asked_at / 1000]
    with suppress(ValueError, TypeError):
        since.append(parsedate_to_datetime(answer.headers.get("date", "")).timestamp())
    try:
        end = datetime.fromisoformat(str(ends))
    except ValueError:
        return CAUTIOUS_LIFETIME
    return whole_seconds(end.replace(tzinfo=end.tzinfo or UTC).timestamp() - max(since)) or CAUTIOUS_LIFETIME


def _scopes(permissions: object, unspeakable: Unspeakable) -> tuple[str, ...]:
    if not isinstance(permissions, dict):
        return ()
    pairs = islice(permissions.items(), _MOST_PERMISSIONS)
    found = [f"{name}:{level}" for name, level in pairs if isinstance(level, str)]
    return tuple(scope for scope in found if _PERMISSION.fullmatch(scope) and not unspeakable.repeated_in(scope))

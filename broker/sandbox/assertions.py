"""Assertions that programs sign with a private key: an app's about itself, a service account's (RFC 7523)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import extract_compact

from broker.sandbox.accounts import Account, person, unknown_scopes
from broker.sandbox.errors import OAuthError
from broker.sandbox.grants import Grant
from broker.sandbox.keys import APP
from broker.sandbox.parameters import Parameters
from broker.sandbox.provider import Provider

_ALGORITHMS: Final = ["RS256"]
_APP_LIVES: Final = 600
_ASSERTION_LIVES: Final = 3600
_SKEW: Final = 5


def app_of(provider: Provider, authorization: str, *, app: str = APP) -> str:
    """The client id of the app whose JWT stands in ``authorization``; raises a 401 otherwise.

    :param app: which it is.
    """
    scheme, _, value = authorization.partition(" ")
    claims = _verified(value.strip(), provider.keys.app_keys) if scheme.lower() == "bearer" else None
    if claims is None or claims.get("iss") != app or provider.behaviour.revokes(app):
        raise _refused("invalid_token", "no JWT of an app that is known here", status=401)
    _check_times(claims, provider.clock(), longest=_APP_LIVES + 60, error="invalid_token", status=401)
    return app


def granted_to_service_account(
    provider: Provider, form: Parameters, *, audience: str | None = None, any_scope: bool = False
) -> Grant:
    """What the JWT bearer grant gives (RFC 7523 §2.1): to the service account, or to the person it acts for.

    :param audience: the token endpoint's address.
    :param any_scope: also those that are not known here.
    """
    assertion = form.require("assertion")
    email, key_id = _unverified_issuer(assertion)
    keys = provider.keys.service_accounts.get(email, {})
    refused = key_id not in keys or provider.behaviour.revokes(email, key_id)
    claims = None if refused else _verified(assertion, [keys[key_id]])
    if claims is None:
        raise _refused("invalid_grant", "no assertion of a service account that is known here")
    if claims.get("aud") != (audience or f"{provider.issuer}/token"):
        raise _refused("invalid_grant", "the assertion is for somebody else")
    _check_times(claims, provider.clock(), longest=_ASSERTION_LIVES, error="invalid_grant", status=400)
    scopes = tuple(dict.fromkeys(str(claims.get("scope", "")).split()))
    if not scopes or (unknown_scopes(scopes) and not any_scope):
        raise _refused("invalid_scope", "this provider does not have all of these scopes")
    subject = claims.get("sub", email)
    account = Account(email, email, email) if subject == email else person(subject)
    if account is None:
        raise _refused("unauthorized_client", "the service account may not act for that person")
    return Grant(email, account, scopes)


def _verified(value: str, keys: Iterable[str]) -> Mapping[str, Any] | None:
    for key in keys:
        try:
            return jwt.decode(value, RSAKey.import_key(key), algorithms=_ALGORITHMS).claims
        except (JoseError, ValueError):
            continue
    return None


def _unverified_issuer(value: str) -> tuple[str, str]:
    """Who says to have signed, and with which key; only good for finding the key."""
    try:
        found = extract_compact(value.encode())
        issuer, key_id = json.loads(found.payload).get("iss"), found.protected.get("kid")
    except (JoseError, ValueError, AttributeError):
        raise _refused("invalid_grant", "the assertion is no JWT") from None
    return str(issuer), str(key_id)


def _check_times(claims: Mapping[str, Any], now: float, *, longest: int, error: str, status: int) -> None:
    issued, ends = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or not isinstance(ends, int):
        raise _refused(error, "iat and exp are needed", status=status)
    if issued > now + _SKEW or ends <= now or ends - issued > longest:
        raise _refused(error, "the assertion is not of now, or lives too long", status=status)


def _refused(error: str, description: str, *, status: int = 400) -> OAuthError:
    return OAuthError(error, description, status=status)

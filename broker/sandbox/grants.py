"""Codes, grants and tokens: what accounts allowed, and what came of it. Pure state; no HTTP in here."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from broker.sandbox.accounts import Account
from broker.sandbox.behaviour import Behaviour, RevocationEnds, Rotation
from broker.sandbox.errors import OAuthError, ReuseError

Clock = Callable[[], float]
"""Answers the current time in seconds since the Unix epoch."""

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(slots=True)
class Grant:
    """What one account allowed one client. All tokens that come of it end with it."""

    client_id: str
    account: Account
    scopes: tuple[str, ...]
    revoked: bool = False


@dataclass(slots=True)
class Code:
    """An authorization code: bound to its client, redirect URI and PKCE challenge."""

    grant: Grant
    redirect_uri: str
    challenge: str
    """Empty: none was sent, and no verifier is asked for."""
    expires_at: float
    redeemed: bool = False


@dataclass(slots=True)
class AccessToken:
    """An access token; its scopes may be fewer than its grant's."""

    grant: Grant
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float


@dataclass(slots=True)
class RefreshToken:
    """A refresh token, when it was issued or last used, and since when a successor has taken its place."""

    grant: Grant
    used_at: float
    expires_at: float | None
    """``None``: never."""
    superseded_at: float | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """What a token request gave (RFC 6749 §5.1); its ``repr`` hides the tokens."""

    access_token: str
    refresh_token: str | None
    expires_in: int
    scopes: tuple[str, ...]
    refresh_token_expires_in: int | None = None
    """``None``: never, or there is none."""

    def __repr__(self) -> str:
        return f"Issued(expires_in={self.expires_in}, scopes={self.scopes})"


class Grants:
    """Everything issued. The behaviour in force is an argument of each step, so it may change in between."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: dict[str, Code] = {}
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, RefreshToken] = {}

    def new_code(self, grant: Grant, *, redirect_uri: str, challenge: str, behaviour: Behaviour) -> str:
        """An authorization code for what was just allowed; nothing is issued until it is redeemed."""
        value = _secret("pac")
        expires_at = self._clock() + behaviour.code_ttl
        self._codes[value] = Code(grant, redirect_uri, challenge, expires_at)
        return value

    def redeem(self, value: str, *, client_id: str, redirect_uri: str, verifier: str, behaviour: Behaviour) -> Issued:
        """Exchange a code, once (RFC 6749 §4.1.3, RFC 7636 §4.6).

        Raises ``invalid_grant`` when it is unknown, expired, another client's, or redirect URI or verifier
        don't fit. A second redemption also ends what the first one gave (RFC 6749 §4.1.2).
        """
        code = self._codes.get(value)
        if code is None or code.grant.client_id != client_id:
            raise OAuthError("invalid_grant", "unknown code")
        if code.redeemed:
            code.grant.revoked = True
            raise ReuseError("the code was already redeemed; what it gave is revoked")
        if code.grant.revoked:
            raise OAuthError("invalid_grant", "the grant was revoked")
        if self._clock() >= code.expires_at:
            raise OAuthError("invalid_grant", "the code has expired")
        if redirect_uri != code.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one the code was sent to")
        if code.challenge and not verifier_fits(verifier, code.challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit the challenge")
        code.redeemed = True
        return self._issue_first(code.grant, behaviour)

    def mint(self, grant: Grant, behaviour: Behaviour) -> Issued:
        """What redeeming a code gives, without one."""
        return self._issue_first(grant, behaviour)

    def refresh(self, value: str, *, client_id: str, scopes: tuple[str, ...] | None, behaviour: Behaviour) -> Issued:
        """Issue a further access token and rotate as ``behaviour`` says (RFC 6749 §6).

        ``scopes`` may be fewer than granted. Raises ``invalid_scope`` if they are more, ``invalid_grant``
        when the token is unknown, another client's, revoked, or was used before and the mode refuses that.
        """
        token = self._refresh.get(value)
        if token is None or token.grant.client_id != client_id:
            raise OAuthError("invalid_grant", "unknown refresh token")
        if token.grant.revoked:
            raise OAuthError("invalid_grant", "the grant was revoked")
        if not self._still_works(token, behaviour):
            if behaviour.rotation is Rotation.REVOKE_ON_REUSE:
                token.grant.revoked = True
                raise ReuseError("the refresh token was used before; the grant is revoked")
            raise ReuseError("the refresh token was used before")
        if self._has_ended(token, behaviour):
            raise OAuthError("invalid_grant", "the refresh token has expired")
        if scopes is not None and not set(scopes) <= set(token.grant.scopes):
            raise OAuthError("invalid_scope", "more than what was granted")
        token.used_at, token.expires_at = self._clock(), self._end_of_refresh(behaviour)
        successor = None
        if behaviour.rotation is not Rotation.NONE:
            if token.superseded_at is None:  # using it again within the grace period doesn't prolong that
                token.superseded_at = self._clock()
            successor = self._new_refresh(token.grant, behaviour)
        issued = self._issue(token.grant, scopes or token.grant.scopes, behaviour, refresh_token=successor)
        return replace(issued, refresh_token_expires_in=behaviour.refresh_token_expires_in)

    def issue(self, grant: Grant, behaviour: Behaviour) -> Issued:
        """An access token for what was granted, without a refresh token: whoever asked can ask again."""
        return self._issue(grant, grant.scopes, behaviour, refresh_token=None)

    def issue_to_client(self, client_id: str, scopes: tuple[str, ...], behaviour: Behaviour) -> Issued:
        """An access token for the client itself; no refresh token (RFC 6749 §4.4.3)."""
        grant = Grant(client_id, Account(sub=client_id, name=client_id), scopes)
        return self._issue(grant, scopes, behaviour, refresh_token=None)

    def live_access_token(self, value: str) -> AccessToken | None:
        """The access token with this value, if it works now."""
        token = self._access.get(value)
        if token is None or token.grant.revoked or self._clock() >= token.expires_at:
            return None
        return token

    def live_refresh_token(self, value: str, behaviour: Behaviour) -> RefreshToken | None:
        """The refresh token with this value, if a refresh with it would work now."""
        token = self._refresh.get(value)
        if token is None or token.grant.revoked or not self._still_works(token, behaviour):
            return None
        if self._has_ended(token, behaviour):
            return None
        return token

    def revoke(self, value: str, *, client_id: str, behaviour: Behaviour) -> None:
        """RFC 7009: a refresh token takes its whole grant along, an access token only itself; or more, as told.

        What is unknown or another client's stays as it is, without a word.
        """
        token = self._refresh.get(value) or self._access.get(value)
        if behaviour.revocation_ends is RevocationEnds.ACCOUNT and token and token.grant.client_id == client_id:
            self._revoke_account(client_id, token.grant.account)
        refresh = self._refresh.get(value)
        if refresh is not None and refresh.grant.client_id == client_id:
            refresh.grant.revoked = True
        access = self._access.get(value)
        if access is not None and access.grant.client_id == client_id:
            del self._access[value]

    def forget(self, value: str) -> None:
        """End this one token and nothing else."""
        self._access.pop(value, None)
        self._refresh.pop(value, None)

    def _revoke_account(self, client_id: str, account: Account) -> None:
        grants = (token.grant for tokens in (self._access, self._refresh) for token in tokens.values())
        for grant in grants:
            grant.revoked = grant.revoked or (grant.client_id, grant.account) == (client_id, account)

    def expire_access_tokens(self) -> None:
        """End the life of every access token issued until now; refresh tokens go on working."""
        now = self._clock()
        for token in self._access.values():
            token.expires_at = min(token.expires_at, now)

    def revoke_grants(self) -> None:
        """Take back what people allowed until now: their codes, refresh and access tokens stop working."""
        for code in self._codes.values():
            code.grant.revoked = True
        for token in self._refresh.values():
            token.grant.revoked = True

    def _still_works(self, token: RefreshToken, behaviour: Behaviour) -> bool:
        if token.superseded_at is None:
            return True
        in_grace = self._clock() < token.superseded_at + behaviour.grace
        return behaviour.rotation is Rotation.GRACE and in_grace

    def _has_ended(self, token: RefreshToken, behaviour: Behaviour) -> bool:
        now, idle = self._clock(), behaviour.idle_expiry
        if token.expires_at is not None and now >= token.expires_at:
            return True
        return idle is not None and now >= token.used_at + idle

    def _end_of_refresh(self, behaviour: Behaviour) -> float | None:
        lives = behaviour.refresh_token_expires_in
        return None if lives is None else self._clock() + lives

    def _new_refresh(self, grant: Grant, behaviour: Behaviour) -> str:
        value = _secret("prt")
        self._refresh[value] = RefreshToken(grant, self._clock(), self._end_of_refresh(behaviour))
        return value

    def _issue_first(self, grant: Grant, behaviour: Behaviour) -> Issued:
        refresh_token = self._new_refresh(grant, behaviour)
        issued = self._issue(grant, grant.scopes, behaviour, refresh_token=refresh_token)
        return replace(issued, refresh_token_expires_in=behaviour.refresh_token_expires_in)

    def _issue(
        self, grant: Grant, scopes: tuple[str, ...], behaviour: Behaviour, *, refresh_token: str | None
    ) -> Issued:
        value, now = _secret("pat"), self._clock()
        if behaviour.granted_scopes is not None:
            scopes = behaviour.granted_scopes
        self._access[value] = AccessToken(grant, scopes, now, now + behaviour.access_token_ttl)
        return Issued(value, refresh_token, behaviour.access_token_ttl, scopes)


def verifier_fits(verifier: str, challenge: str) -> bool:
    """Whether ``verifier`` is well formed and hashes to ``challenge`` (RFC 7636 §4.1 and §4.6, S256)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(hashed, challenge.encode())


def _secret(prefix: str) -> str:
    return f"{prefix}_{secrets.token_urlsafe(32)}"

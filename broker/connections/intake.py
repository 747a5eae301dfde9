"""Credentials that are handed in, by a program or by a person on our page, on their way into a connection.

    format → live test → permissions → stored

Each step has its own refusal, and nothing is stored that failed one, unless the caller wants it unasked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from broker.clock import Clock
from broker.connections.authorization import Authorizations, Wanted
from broker.connections.credential_format import read_fields
from broker.connections.importing import Importing, read_tokens
from broker.errors import Conflict, InvalidCredentials, ProviderError, ProviderRefused, ProviderUnavailable
from broker.models.account import Account
from broker.models.connection import Connection, Credential, Whoami
from broker.providers import Provider
from broker.upstream.facade import Upstream
from broker.upstream.parameters import check_parameters, check_scopes
from broker.upstream.schemes.request import UnsignableError
from broker.upstream.token_response import TokenSet
from broker.vault.records import Records

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """A credential that passed."""

    wanted: Wanted
    """With the type of the credential and the checked parameters."""
    tokens: TokenSet
    fields: Mapping[str, str] = field(repr=False)
    account: Account | None
    verified: bool = False
    """Whether the provider has accepted the credential, or has issued what stands for it."""


class Intake:
    """Judges what is handed in, and stores what passes."""

    def __init__(self, records: Records, authorizations: Authorizations, upstream: Upstream, clock: Clock) -> None:
        self._records = records
        self._authorizations = authorizations
        self._upstream = upstream
        self._importing = Importing(upstream, clock)
        self._clock = clock

    async def take(self, wanted: Wanted, credentials: Mapping[str, Any]) -> Connection:
        """A connection that holds ``credentials``, new or in the place of what ``wanted.renews`` held.

        One whose id was drawn before, and that was made then, is answered as it stands.

        :raises BrokerError: as :meth:`check` and :meth:`Authorizations.put`.
        """
        drawn = wanted.connection_id
        if wanted.renews is None and drawn is not None and (made := await self._records.read(drawn)):
            return made
        return await self.store(await self.check(wanted, credentials))

    async def store(self, taken: Taken) -> Connection:
        """The connection that holds what passed."""
        return await self._authorizations.put(taken.wanted, taken.tokens, taken.account, fields=taken.fields)

    def judge(self, wanted: Wanted, credentials: Mapping[str, Any]) -> Wanted:
        """Judge what can be judged without asking anybody; answers what is wanted with its checked parameters.

        :raises InvalidCredentials, InvalidRequest, Conflict: as :meth:`check`.
        """
        provider = wanted.provider
        if not provider.ready:
            raise Conflict(f"the provider is not ready: {', '.join(provider.missing)} missing")
        check_scopes(provider, wanted.requested_scopes)
        parameters = check_parameters(provider, wanted.parameters)
        if provider.type != "oauth2":
            read_fields(provider, credentials, patterns=wanted.validate)
            return replace(wanted, parameters=parameters, handed_in=not provider.kind.issues)
        if credentials:
            read_tokens(wanted, credentials, now=self._clock())
            return replace(wanted, parameters=parameters, handed_in=True)
        if "client_credentials" not in provider.grant_types:
            raise Conflict("the entry doesn't list client_credentials among its grant_types")
        return replace(wanted, parameters=parameters, credential_type="client_credentials")

    async def check(self, wanted: Wanted, credentials: Mapping[str, Any], *, spend: bool = True) -> Taken:
        """Judge ``credentials``; nothing is stored.

        :param spend: whether a refresh token may be used up where nothing else can be tested. If not, such tokens pass
            unasked; and where ``wanted.validate`` is false, nobody is asked for anything.
        :raises InvalidCredentials: naming the step that they failed.
        :raises InvalidRequest: the parameters or scopes are wrong.
        :raises Conflict: the provider lacks settings, or takes no such credential.
        :raises ProviderUnavailable: the provider can't be asked now.
        """
        provider, wanted = wanted.provider, self.judge(wanted, credentials)
        unasked = not (spend or wanted.validate)
        if provider.type == "oauth2" and not credentials:
            return await self._for_the_app(wanted) if not unasked else self._unasked(wanted, {})
        if provider.type == "oauth2":
            return await self._taken_over(wanted, credentials, spend=spend)
        fields = read_fields(provider, credentials, patterns=wanted.validate)
        if provider.kind.issues and unasked:
            return self._unasked(wanted, fields)
        tokens = await self._tokens(wanted, fields)
        taken = self._permitted(wanted, tokens, fields, await self._whoami(wanted, tokens, fields))
        return replace(taken, verified=taken.verified or provider.kind.issues)

    def _unasked(self, wanted: Wanted, fields: Mapping[str, str]) -> Taken:
        """What tokens are issued for, without one: whoever fetches it first has one issued."""
        tokens = TokenSet("", None, 0, tuple(wanted.requested_scopes), asked_at=self._clock())
        return Taken(wanted, tokens, fields, None)

    async def _for_the_app(self, wanted: Wanted) -> Taken:
        """By the provider's client credentials grant (RFC 6749 §4.4)."""
        scopes = tuple(wanted.requested_scopes)
        try:
            tokens = await self._upstream.issue(
                wanted.provider, wanted.parameters, credential=Credential(""), scopes=scopes
            )
        except ProviderRefused as error:
            # All else that a provider has against an app is the operator's to mend.
            if error.error != "invalid_scope":
                raise
            raise _not_granted(error, scopes) from None
        found = await self._whoami(wanted, tokens, {})
        return Taken(wanted, tokens, {}, found.account if found else None, verified=True)

    async def _taken_over(self, wanted: Wanted, credentials: Mapping[str, Any], *, spend: bool) -> Taken:
        """OAuth tokens that somebody else obtained."""
        imported = await self._importing.take(wanted, credentials, spend=spend)
        if imported.over:
            return Taken(wanted, imported.tokens, {}, None)
        if not imported.spent:
            tokens = imported.tokens
            try:
                return self._permitted(wanted, tokens, {}, await self._whoami(wanted, tokens, {}))
            except InvalidCredentials as error:
                refused = error.step == "live_test" and error.provider_status == 401
                if spend or not refused or tokens.refresh_token is None or tokens.expires_in is not None:
                    raise
                # Nobody has said when it ends. It is over, and whether the grant is, too, only a refresh can tell.
                return Taken(wanted, replace(tokens, expires_in=0), {}, None)
        # Refused now, they would be lost, and with them the grant: what was handed in is used up.
        wanted = replace(wanted, handed_in=False)
        kept = replace(wanted, validate=False)
        try:
            found = await self._whoami(wanted, imported.tokens, {})
        except (InvalidCredentials, ProviderError, ProviderUnavailable) as error:
            log.warning("intake.account_unknown", provider=wanted.provider.name, reason=error.code)
            found = None
        return replace(self._permitted(kept, imported.tokens, {}, found), wanted=wanted)

    async def _tokens(self, wanted: Wanted, fields: Mapping[str, str]) -> TokenSet:
        provider, scopes = wanted.provider, tuple(wanted.requested_scopes)
        if not provider.kind.issues:
            token = fields[provider.token_field] if provider.token_field else ""
            return TokenSet(token, None, None, scopes, asked_at=self._clock())
        try:
            return await self._upstream.issue(
                provider, wanted.parameters, credential=Credential("", fields=fields), scopes=scopes
            )
        except ProviderRefused as error:
            if error.error == "invalid_scope":
                raise _not_granted(error, scopes) from None
            raise _failed_live(provider, error) from None

    async def _whoami(self, wanted: Wanted, tokens: TokenSet, fields: Mapping[str, str]) -> Whoami | None:
        try:
            return await self._authorizations.whoami(wanted, tokens, fields)
        except UnsignableError as error:
            raise InvalidCredentials(
                "format", f"no request can be signed with the credentials: {error.detail}"
            ) from None
        except ProviderError as error:
            refused = isinstance(error, ProviderRefused) or 400 <= (error.http_status or 0) < 500
            if not refused:
                # What was answered says nothing about the credential.
                raise
            raise _failed_live(wanted.provider, error) from None

    def _permitted(self, wanted: Wanted, tokens: TokenSet, fields: Mapping[str, str], found: Whoami | None) -> Taken:
        """What passes, if what it may do is enough; where nobody says what that is, it is taken for enough.

        :raises InvalidCredentials: it may do less than is needed.
        """
        if found is not None and found.scopes is not None:
            tokens = replace(tokens, scopes=found.scopes)
        needed = wanted.requested_scopes if wanted.needed_scopes is None else wanted.needed_scopes
        missing = [scope for scope in needed if scope not in tokens.scopes]
        if missing and wanted.validate:
            raise InvalidCredentials(
                "permissions",
                f"the credential works, but may not do all that is needed; missing: {' '.join(missing)}. "
                "Give it these permissions at the provider, or make another one that has them."
                + _advice(wanted.provider),
                missing=missing,
            )
        return Taken(wanted, tokens, fields, found.account if found else None, verified=found is not None)


def _advice(provider: Provider) -> str:
    """Where to find a credential, in the provider's own words."""
    told = provider.credential_help
    return "" if told is None else f" {told.text}" + (f" ({told.url})" if told.url else "")


def _not_granted(error: ProviderRefused, scopes: Sequence[str]) -> InvalidCredentials:
    detail = f"{error.detail}. Not all of these scopes can be granted: {' '.join(scopes)}"
    return InvalidCredentials("permissions", detail, provider_status=error.http_status, missing=scopes)


def _failed_live(provider: Provider, error: ProviderError) -> InvalidCredentials:
    return InvalidCredentials(
        "live_test",
        f"{error.detail}. Check the credential, and whether it was revoked or has run out.{_advice(provider)}",
        provider_status=error.http_status,
    )

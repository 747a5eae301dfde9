"""Asking the provider about a row, and drafting its connection.

Nobody is asked more than their provider bears, all replicas of the broker counted (``Turns``); who is busy or down is
asked again a few times. An import never spends a refresh token: where only a refresh could tell, the row is taken as it
is.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from broker.clock import Clock
from broker.connections.authorization import Authorizations, minted_by
from broker.connections.intake import Intake
from broker.connections.moving.judging import Judged, faults_of
from broker.connections.moving.order import Stop
from broker.connections.moving.row import RowFault
from broker.connections.turns import Turns
from broker.connections.whoami import refuses_token, tells_nothing, whose
from broker.errors import BrokerError, InvalidCredentials, ProviderError, StoreUnavailable
from broker.models.connection import Connection, Credential, Status
from broker.providers import Provider
from broker.upstream.facade import Upstream

PAUSES: Final = (0.5, 2.0, 5.0, 15.0)
"""Seconds between attempts, unless the provider names a longer time."""
_PATIENCE: Final = 30.0
"""Seconds that a row waits for its turn."""
_IN_ALL: Final = 60.0
"""Seconds after which nothing more is tried for a row: its provider is down, and others wait."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A connection that may be stored."""

    connection: Connection
    credential: Credential = field(repr=False)
    verified: bool
    """Whether the provider was asked, and said yes."""
    parked: tuple[str, ...] = field(default=(), repr=False)
    """Refresh tokens that came too late where it comes from, newest first."""


class Verifying:
    """Drafts connections of rows."""

    def __init__(
        self,
        intake: Intake,
        authorizations: Authorizations,
        upstream: Upstream,
        turns: Turns,
        clock: Clock,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._intake = intake
        self._authorizations = authorizations
        self._upstream = upstream
        self._turns = turns
        self._clock = clock
        self._pauses = pauses

    async def draft(
        self,
        judged: Judged,
        connection_id: str,
        batch: str | None,
        stop: Stop,
        *,
        verify: bool,
        away: Collection[str] = (),
    ) -> Draft | list[RowFault]:
        """The row's connection, or what the provider has against it.

        :param batch: through which it comes.
        :param away: the providers that other rows have given up meanwhile: no more attempts there.
        :raises ProviderError, ProviderUnavailable: nobody can be asked now, also after a while.
        :raises StoreUnavailable: no turn can be had.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _IN_ALL
        for pause in (*self._pauses, None):
            try:
                async with self._turn(judged, until - loop.time(), verify=verify):
                    if judged.restored is not None:
                        return await self._restored(judged, judged.restored, verify=verify)
                    return await self._new(judged, connection_id, batch)
            except StoreUnavailable:
                raise
            except BrokerError as error:
                if not tells_nothing(error):
                    return _faults_of(judged, error)
                if pause is None or stop.is_set():
                    raise
                seconds = max(pause, error.retry_after or 0)
                if loop.time() + seconds >= until or judged.provider.name in away:
                    raise
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await stop.wait()
                if judged.provider.name in away:
                    raise
        raise ValueError("the last attempt answers or raises")

    def _turn(self, judged: Judged, left: float, *, verify: bool) -> AbstractAsyncContextManager[None]:
        provider = judged.provider
        if not verify or (provider.identity is None and not provider.kind.issues and provider.type != "oauth2"):
            return nullcontext()
        return self._turns.turn(
            provider, where=whoami_at(provider), patience=min(_PATIENCE, max(left, 0.0)), trial=True
        )

    async def _new(self, judged: Judged, connection_id: str, batch: str | None) -> Draft | list[RowFault]:
        row, wanted = judged.row, judged.wanted
        if wanted is None:
            raise ValueError("a restored row is no new one")
        wanted = replace(wanted, connection_id=connection_id, session=batch)
        taken = await self._intake.check(wanted, row.credentials, spend=False)
        if taken.account is not None and row.account_id is not None and taken.account.id != row.account_id:
            return [RowFault(row.number, "account_id", "the provider says that the credential is another account's")]
        # Where the file doesn't say what was asked for, it is what was granted.
        asked = taken.tokens.scopes if row.scopes is None else taken.wanted.requested_scopes
        connection, credential = await self._authorizations.draft(
            replace(taken.wanted, requested_scopes=asked),
            taken.tokens,
            # What the file says is compared, and not believed: others may stand in for the account, or share its end.
            taken.account,
            fields=taken.fields,
        )
        checked = connection.health.last_checked_at if taken.account else None
        connection = replace(
            connection,
            created_at=connection.created_at if row.created_at is None else row.created_at,
            health=replace(connection.health, last_checked_at=checked),
        )
        return Draft(connection, credential, taken.verified)

    async def _restored(self, judged: Judged, connection: Connection, *, verify: bool) -> Draft | list[RowFault]:
        number, restored = judged.row.number, judged.row.restored
        if restored is None:
            raise ValueError("a new row is no restored one")
        endpoints = await self._upstream.endpoints(judged.provider, connection.parameters)
        if minted_by(judged.provider, endpoints) != connection.minted:
            message = "its credential belongs to another issuer or OAuth app than the entry's, and could not be renewed"
            return [RowFault(number, "provider", message)]
        draft = Draft(connection, restored.credential, verified=False, parked=restored.parked)
        if not verify or connection.status is not Status.ACTIVE or not connection.outlives(self._clock()):
            return draft
        try:
            account = await whose(self._upstream, judged.provider, connection, restored.credential)
        except ProviderError as error:
            # Dead before its time; whether the grant is, too, only a refresh can tell.
            if refuses_token(error) and (restored.credential.refresh_token or connection.issued):
                return draft
            raise
        if account is not None and connection.account is not None and account.id != connection.account.id:
            return [RowFault(number, "account", "the provider says that the credential is another account's")]
        return replace(draft, verified=account is not None)


def _faults_of(judged: Judged, error: BrokerError) -> list[RowFault]:
    faults = faults_of(judged.row.number, error)
    refused = refuses_token(error) or (isinstance(error, InvalidCredentials) and error.step == "live_test")
    return [replace(fault, remedy="no-verify") for fault in faults] if refused else faults


def whoami_at(provider: Provider) -> str:
    """Where turns are taken to ask ``provider`` whose a credential is."""
    return provider.identity.url if provider.identity else provider.token_endpoint or provider.issuer or "whoami"

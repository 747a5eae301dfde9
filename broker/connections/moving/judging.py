"""Judging rows by what stands in them alone: every fault of every row, before anybody is asked and anything is stored.

No fault repeats what stood in the row: where columns are shifted, any cell may be somebody's password.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from broker.clock import Clock
from broker.connections.authorization import Wanted
from broker.connections.importing import read_tokens
from broker.connections.intake import Intake
from broker.connections.moving.fitting import fitted, misfits
from broker.connections.moving.naming import is_name, resembles
from broker.connections.moving.order import Order
from broker.connections.moving.row import Restored, Row, RowFault
from broker.errors import BrokerError, FieldFault, InvalidCredentials, InvalidRequest
from broker.models.access import DEFAULT_TENANT
from broker.models.account import Account
from broker.models.connection import Connection
from broker.models.metadata import fault_of_metadata
from broker.providers import Provider, Registry
from broker.upstream.parameters import check_scopes

_TEXTS: Final = {"subject": (1, 255), "label": (0, 200), "account_id": (1, 255), "account_name": (0, 200)}
"""Characters, at least and at most, as the API has it."""
_SCOPES: Final = 100
_LONGEST_SCOPE: Final = 255
_PARAMETERS: Final = 20
_LONGEST_PARAMETER: Final = 255
_LONGEST_SOURCE_ID: Final = 255


@dataclass(frozen=True, slots=True)
class Judged:
    """A row that may be taken in, as far as it can be seen."""

    row: Row
    provider: Provider
    wanted: Wanted | None
    """``None``: it is restored."""
    restored: Connection | None

    @property
    def tenant(self) -> str:
        """Whose it becomes."""
        return self._either.tenant

    @property
    def subject(self) -> str:
        """Whose connection it is."""
        return self._either.subject

    @property
    def account(self) -> Account | None:
        """Whose account it is said to be; of a new one, by the file alone: it proves nothing, and isn't stored."""
        if self.restored is not None:
            return self.restored.account
        return None if self.row.account_id is None else Account(self.row.account_id, self.row.account_name or None)

    @property
    def _either(self) -> Wanted | Connection:
        either = self.wanted or self.restored
        if either is None:
            raise ValueError("a row is either new or restored")
        return either


class Judge:
    """Judges rows one by one."""

    def __init__(self, intake: Intake, providers: Registry, clock: Clock) -> None:
        self._intake = intake
        self._providers = providers
        self._clock = clock

    def judge(self, row: Row, order: Order) -> Judged | list[RowFault]:
        """The row, or all that is wrong with it."""
        if row.restored is not None:
            return self._restored(row, row.restored, order)
        faults = [RowFault(row.number, name, message) for name, message in _faults_of(row, now=self._clock())]
        if row.provider not in self._providers:
            # It can't be judged any further.
            return [*faults, RowFault(row.number, "provider", _unknown(row.provider, self._providers.names))]
        wanted = _wanted(row, self._providers.get(row.provider), order, validate=True)
        try:
            wanted = self._intake.judge(wanted, row.credentials)
            if wanted.provider.type == "oauth2" and row.credentials:
                self._check_tokens(wanted, row.credentials)
        except BrokerError as error:
            faults += faults_of(row.number, error)
        return faults or Judged(row, wanted.provider, wanted, None)

    def again(self, row: Row, order: Order) -> Judged | list[RowFault]:
        """A row that was judged before, and passed."""
        if row.restored is not None:
            return self._restored(row, row.restored, order)
        provider = self._providers.get(row.provider)
        return Judged(row, provider, _wanted(row, provider, order, validate=order.verify), None)

    def _restored(self, row: Row, restored: Restored, order: Order) -> Judged | list[RowFault]:
        connection = restored.connection
        if connection.provider not in self._providers:
            return [RowFault(row.number, "provider", f"there is no entry {connection.provider} here, which it needs")]
        provider = self._providers.get(connection.provider)
        if not provider.ready:
            return [RowFault(row.number, "provider", f"is not ready: {', '.join(provider.missing)} missing")]
        faults = [RowFault(row.number, fault.field, fault.message) for fault in misfits(restored, provider)]
        if faults:
            return faults
        return Judged(
            row, provider, None, replace(fitted(connection, provider), tenant=order.tenant or connection.tenant)
        )

    def _check_tokens(self, wanted: Wanted, credentials: Mapping[str, Any]) -> None:
        """:raises InvalidCredentials: nothing could ever bring another access token, and this one is over; or a refresh
        would have to say what was granted, and the file doesn't."""
        tokens = read_tokens(wanted, credentials, now=self._clock())
        try:
            check_scopes(wanted.provider, tokens.scopes)
        except InvalidRequest as error:
            faults = [FieldFault("credentials.scope", fault.message) for fault in error.faults]
            raise InvalidCredentials.malformed(faults) from None
        if tokens.refresh_token is not None and not tokens.scopes and _names_scopes(wanted.provider):
            message = "required: this provider's refreshes name the scopes that were granted"
            raise InvalidCredentials.malformed([FieldFault("credentials.scope", message)])
        over = tokens.expires_in is not None and tokens.expires_in <= 0
        if over and tokens.refresh_token is None:
            raise InvalidCredentials("live_test", "the access token is over, and there is no refresh token to renew it")


def _unknown(named: str, entries: Iterable[str]) -> str:
    """Short, for it may be said of every row. By the name only where it is one like ours: anything may stand there."""
    if not named:
        return "required, in the row or by --provider"
    if not (is_name(named) and resembles(named, entries)):
        return "there is no such provider here; --map-provider THEIRS=ENTRY says which entry a name stands for"
    option = shlex.quote(f"{named}=ENTRY")
    return f'there is no provider "{named}" here; --map-provider {option} says which entry it stands for'


def _names_scopes(provider: Provider) -> bool:
    """Whether its refreshes have to say what was granted."""
    return any("{scope}" in value for value in provider.refresh_params.values())


def _asked_for(row: Row, provider: Provider) -> tuple[str, ...]:
    """What a row was asked for. Where it doesn't say so, nobody knows, unless the broker is who asks: for tokens that
    it has issued itself."""
    if row.scopes is not None:
        return tuple(dict.fromkeys(row.scopes))
    issues = provider.kind.issues or (provider.type == "oauth2" and not row.credentials)
    return provider.default_scopes if issues else ()


def _wanted(row: Row, provider: Provider, order: Order, *, validate: bool) -> Wanted:
    return Wanted(
        tenant=order.tenant or DEFAULT_TENANT,
        client_id=None,
        subject=row.subject,
        provider=provider,
        credential_type=provider.type,
        requested_scopes=_asked_for(row, provider),
        # What a person has granted elsewhere is moved as it is.
        needed_scopes=(),
        parameters=dict(row.parameters),
        label=row.label or None,
        metadata=dict(row.metadata),
        means="import",
        validate=validate,
    )


def _faults_of(row: Row, *, now: int) -> Iterator[tuple[str, str]]:
    """Field and fault of everything that is beyond the bounds that the API has."""
    for name, (least, most) in _TEXTS.items():
        text: str | None = getattr(row, name)
        if text is not None and not least <= len(text) <= most:
            yield name, "required" if not text else f"may have {most} characters"
        elif text is not None and not _is_storable(text):
            yield name, "holds characters that no text holds"
    if row.scopes is not None and (len(row.scopes) > _SCOPES or any(len(s) > _LONGEST_SCOPE for s in row.scopes)):
        yield "scopes", f"at most {_SCOPES}, of {_LONGEST_SCOPE} characters each"
    if len(row.parameters) > _PARAMETERS or any(len(value) > _LONGEST_PARAMETER for value in row.parameters.values()):
        yield "parameters", f"at most {_PARAMETERS}, of {_LONGEST_PARAMETER} characters each"
    if (fault := fault_of_metadata(row.metadata)) is not None:
        yield "metadata", fault
    if row.created_at is not None and not 0 <= row.created_at <= now:
        yield "created_at", "must be a time that is past"
    if row.source_id is not None and not (len(row.source_id) <= _LONGEST_SOURCE_ID and _is_storable(row.source_id)):
        yield "source_id", f"may have {_LONGEST_SOURCE_ID} characters"


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def faults_of(number: int, error: BrokerError) -> list[RowFault]:
    """What an error says of the row ``number``: each field that it names, or all of it."""
    match error:
        case InvalidCredentials() | InvalidRequest() if error.faults:
            return [RowFault(number, fault.field, fault.message) for fault in error.faults]
        case InvalidCredentials():
            return [RowFault(number, "credentials", error.detail)]
        case _:
            return [RowFault(number, "provider", error.detail)]

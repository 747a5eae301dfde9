"""Whether what a record says is of the kind that it should be.

Documents are read without asking what their values are. A damaged one must be found out here, where it is one record
that can't be read, and not where it is shown, stored again or sent.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, get_args

from pydantic_core import to_json

from broker.models.account import Account
from broker.models.connection import Connection
from broker.models.consent import Consent, Means

_MEANS: Final = frozenset(get_args(Means))
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_GENERATIONS: Final = range(1, 2**63)


def check(connection: Connection) -> None:
    """Return if every value is of its kind.

    :raises TypeError: one is not.
    :raises ValueError: it can't be, or can't be shown.
    """
    provider, minted, health = connection.provider, connection.minted, connection.health
    if not _PROVIDER.fullmatch(provider):
        raise ValueError("no provider has such a name")
    if connection.generation not in _GENERATIONS:
        raise ValueError("no generation has such a number")
    parameters = _mapping(connection.parameters)
    _mapping(connection.provider_data)
    if _mapping(connection.metadata):
        to_json(connection.metadata)  # refuses what is nested too deep
    fault = health.last_error
    _texts(
        connection.subject,
        connection.credential_type,
        minted.issuer,
        minted.client_id,
        *connection.requested_scopes,
        *parameters.values(),
        *(() if fault is None else (fault.code, fault.message)),
    )
    _texts_or_none(connection.label, connection.fallback)
    _numbers(connection.created_at, health.consecutive_failures, *(() if fault is None else (fault.at,)))
    times = (health.last_checked_at, health.last_refreshed_at, health.next_refresh_at, health.next_check_at)
    _numbers(*(time for time in times if time is not None))
    _account(connection.account)
    for consent in connection.consents:
        _consent(consent)


def _consent(consent: Consent) -> None:
    _numbers(consent.at)
    _texts(*consent.requested, *consent.granted)
    _texts_or_none(consent.session, consent.client_id)
    _account(consent.account)
    if consent.means not in _MEANS:
        raise ValueError("nobody consents by such means")


def _account(account: Account | None) -> None:
    if account is not None:
        _texts(account.id)
        _texts_or_none(account.name)


def _texts(*values: object) -> None:
    _of(str, values)


def _texts_or_none(*values: object) -> None:
    _of(str, (value for value in values if value is not None))


def _numbers(*values: object) -> None:
    _of(int, values)


def _of(kind: type, values: Iterable[object]) -> None:
    # A truth value counts as a number elsewhere.
    if any(type(value) is not kind for value in values):
        raise TypeError(f"not each of them is of type {kind.__name__}")


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return value

"""Tokens of django-allauth: ``manage.py dumpdata socialaccount`` (JSON or JSON Lines).

A token is a row. Its account says whose it is: the user, by the primary key (or what stands for it with
``--natural-foreign``), the provider and the ``uid`` there. ``token_secret`` holds the refresh token of OAuth 2.0. The
accounts are read first and kept in memory, some 300 bytes each. Times without a time zone are taken for UTC.

Source: django-allauth's documentation, "Social accounts", and the help texts of its models ``SocialAccount`` and
``SocialToken``; Django's documentation, "Serializing Django objects".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from broker.connections.moving.formats.reading import ReadOptions
from broker.connections.moving.json_items import items_of
from broker.connections.moving.members import Members, Untakeable
from broker.connections.moving.row import Row, RowFault

_ACCOUNT: Final = "socialaccount.socialaccount"
_TOKEN: Final = "socialaccount.socialtoken"  # noqa: S105 - the name of a model
_NAMED_BY: Final = ("email", "name", "login", "username")
"""Members of an account's ``extra_data``, which is as the provider answered, that name it for people."""


@dataclass(frozen=True, slots=True)
class _Account:
    subject: str
    provider: str
    uid: str
    name: str | None
    joined: int | None


class Allauth:
    """Reads them."""

    def read(self, file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
        """See :class:`~broker.connections.moving.formats.reading.Reader`."""
        options.refuse_columns("django-allauth")
        return _rows(file, options)


def _rows(file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
    start, tokens = file.tell(), 0
    accounts: dict[str, _Account] = {}
    for number, item in items_of(file):
        if isinstance(item, RowFault):
            yield item
        elif item.get("model") == _ACCOUNT:
            try:
                key, account = _account(item)
                accounts[key] = account
            except Untakeable as error:
                yield error.at(number, item, "pk")
        elif not isinstance(item.get("model"), str):
            yield RowFault(number, "model", "each object of a dump names its model")
    file.seek(start)
    for number, item in items_of(file):
        if isinstance(item, RowFault) or item.get("model") != _TOKEN:
            continue
        tokens += 1
        try:
            yield _row(number, item, accounts, options)
        except Untakeable as error:
            yield error.at(number, item, "pk")
    if accounts and not tokens:
        yield RowFault(1, "model", "accounts and no tokens: the site didn't keep any (SOCIALACCOUNT_STORE_TOKENS)")


def _account(item: Mapping[str, Any]) -> tuple[str, _Account]:
    fields, key = Members(item).object("fields"), Members(item).identifier("pk")
    read = Members(fields, "fields")
    subject, provider, uid = _user(fields), read.text("provider"), read.identifier("uid")
    if key is None or subject is None or provider is None or uid is None:
        raise Untakeable("fields", "an account has a pk, a user, a provider and a uid")
    return key, _Account(subject, provider, uid, _name(fields.get("extra_data")), read.moment("date_joined"))


def _user(fields: Mapping[str, Any]) -> str | None:
    user = fields.get("user")
    if isinstance(user, list) and len(user) == 1:
        # A natural key: the user's name.
        user = user[0]
    return Members({"user": user}, "fields").identifier("user")


def _name(extra: object) -> str | None:
    # Earlier versions hold a text, in which it isn't worth looking.
    found = [extra.get(name) for name in _NAMED_BY] if isinstance(extra, Mapping) else []
    return next((name for name in found if isinstance(name, str) and name), None)


def _row(number: int, item: Mapping[str, Any], accounts: Mapping[str, _Account], options: ReadOptions) -> Row:
    read = Members(Members(item).object("fields"), "fields")
    account = accounts.get(read.identifier("account") or "")
    if account is None:
        raise Untakeable("fields.account", "is of no account in this file")
    token = read.text("token")
    if token is None:
        raise Untakeable("fields.token", "missing")
    read.moment("expires_at")
    credentials = {
        "access_token": token,
        "refresh_token": read.text("token_secret"),
        "expires_at": read.text("expires_at"),
    }
    return Row(
        number=number,
        provider=options.provider_of(account.provider),
        subject=account.subject,
        credentials={name: value for name, value in credentials.items() if value},
        account_id=account.uid,
        account_name=account.name,
        created_at=account.joined,
        source_id=Members(item).identifier("pk"),
    )

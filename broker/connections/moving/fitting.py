"""Whether a connection that comes out of a broker's export fits the entry that it is to live by here.

Its parameters stand in addresses, and its credential in requests: each passes what it would have had to pass if it had
been handed in. Whose app its tokens belong to is judged where that is known, with the entry's addresses.
"""

from collections.abc import Iterator
from dataclasses import replace

from broker.connections.credential_format import read_fields
from broker.connections.moving.row import Restored
from broker.errors import FieldFault, InvalidCredentials, InvalidRequest
from broker.models.connection import Connection, Credential
from broker.providers import Provider
from broker.upstream.parameters import check_parameters, check_scopes
from broker.upstream.token_response import read_token


def misfits(restored: Restored, provider: Provider) -> Iterator[FieldFault]:
    """What of it the entry ``provider`` would not have let in. No fault repeats a value."""
    connection, credential = restored.connection, restored.credential
    for_the_app = provider.type == "oauth2" and "client_credentials" in provider.grant_types
    if connection.credential_type != provider.type and not (
        for_the_app and connection.credential_type == "client_credentials"
    ):
        yield FieldFault("connection.credential_type", f"the entry here is of another type: {provider.type}")
        return
    yield from _of_what_is_asked(connection, provider)
    if provider.type == "oauth2":
        yield from _of_tokens(restored)
    else:
        yield from _of_what_was_handed_in(credential, provider)


def fitted(connection: Connection, provider: Provider) -> Connection:
    """The connection, which fits, as it lives by the entry: with the defaults of parameters that the entry has gained.

    :raises InvalidRequest: it doesn't fit.
    """
    return replace(connection, parameters=check_parameters(provider, connection.parameters))


def _of_what_is_asked(connection: Connection, provider: Provider) -> Iterator[FieldFault]:
    try:
        # What it doesn't have yet, and this entry has a default for, it gets: see fitted().
        check_parameters(provider, connection.parameters)
        check_scopes(provider, connection.requested_scopes)
    except InvalidRequest as error:
        yield from (FieldFault(f"connection.{fault.field}", fault.message) for fault in error.faults)


def _of_tokens(restored: Restored) -> Iterator[FieldFault]:
    credential = restored.credential
    if credential.fields:
        yield FieldFault("credential.fields", "a credential of this type has none")
    tokens = (credential.access_token, credential.refresh_token, credential.previous_refresh_token, *restored.parked)
    if any(token and read_token(token) != token for token in tokens):
        yield FieldFault("credential", "a token holds characters that no token holds")


def _of_what_was_handed_in(credential: Credential, provider: Provider) -> Iterator[FieldFault]:
    try:
        # Its looks were judged where it was handed in, by patterns that may have changed since.
        fields = read_fields(provider, credential.fields, patterns=False)
    except InvalidCredentials as error:
        for fault in error.faults:
            yield FieldFault(f"credential.fields{fault.field.removeprefix('credentials')}", fault.message)
        return
    if fields != credential.fields:
        yield FieldFault("credential.fields", "are not as they are stored")
    if credential.refresh_token or credential.previous_refresh_token:
        yield FieldFault("credential.refresh_token", "a credential of this type has none")
    served = fields.get(provider.token_field, "") if provider.token_field else ""
    if not provider.kind.issues and credential.access_token != served:
        yield FieldFault("credential.access_token", "is not what was handed in")

"""What comes out of an export has to fit the entry here: anybody with the public key can write such a file."""

from dataclasses import replace
from typing import Any

import pytest

from broker.connections.moving.fitting import misfits
from broker.connections.moving.row import Restored, RowFault
from broker.connections.moving.whole import document_of
from broker.models.connection import Connection, Credential
from broker.providers import Registry
from broker.upstream.parameters import check_parameters
from tests.connections.moving.sealing import read, sealer_for
from tests.kinds.cases import CASES, Case
from tests.vault.samples import a_connection

OAUTH = Credential("access-1", "refresh-1", "refresh-0")


def at(provider: str, **changes: Any) -> Connection:
    """A connection at an entry of tests/providers.yaml."""
    return a_connection(**{"provider": provider, "parameters": {}, **changes})


def of(case: Case, providers: Registry, **changes: Any) -> Restored:
    """A connection of the kind, with its credential as it is stored."""
    token = case.good[case.token] if case.token else ""
    kind = {"practice-basic": "basic", "practice-custom": "custom", "practice-aws": "aws_sigv4"}
    parameters = check_parameters(providers.get(case.provider), {})
    connection = at(case.provider, credential_type=kind.get(case.provider, "api_key"), parameters=parameters)
    return Restored(connection, replace(Credential(token, fields=dict(case.good)), **changes))


def fields(restored: Restored, providers: Registry) -> set[str]:
    """What is at fault."""
    return {fault.field for fault in misfits(restored, providers.get(restored.connection.provider))}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_was_stored_by_a_broker_fits(case: Case, providers: Registry) -> None:
    """Each kind; with a credential that it would not take, or a token beside it, it doesn't."""
    assert fields(of(case, providers), providers) == set()
    more = {**case.good, "more": "x"}
    assert fields(of(case, providers, fields=more), providers) == {"credential.fields"}
    needed = {f"credential.fields.{name}" for name in case.good}
    assert fields(of(case, providers, fields={}), providers) == needed
    assert fields(of(case, providers, access_token="another"), providers) == {"credential.access_token"}
    assert fields(of(case, providers, refresh_token="another"), providers) == {"credential.refresh_token"}
    spaced = {name: f" {value}" for name, value in case.good.items()}
    assert "credential.fields" in fields(of(case, providers, fields=spaced), providers)


def test_tokens_fit_where_tokens_belong(providers: Registry) -> None:
    """And hold what tokens may hold."""
    assert fields(Restored(at("practice"), OAUTH, ("late",)), providers) == set()
    assert fields(Restored(at("practice", credential_type="client_credentials"), Credential("a")), providers) == set()
    assert fields(Restored(at("practice"), replace(OAUTH, fields={"a": "b"})), providers) == {"credential.fields"}
    for several in (("ключ",), ("a", "ключ"), ("a", "b", "ключ")):
        assert fields(Restored(at("practice"), Credential(*several)), providers) == {"credential"}
    assert fields(Restored(at("practice"), OAUTH, ("ключ",)), providers) == {"credential"}


@pytest.mark.parametrize(
    ("provider", "kind"),
    [("practice", "api_key"), ("practice-key", "oauth2"), ("practice-native", "client_credentials")],
)
def test_a_credential_of_another_type_is_refused(provider: str, kind: str, providers: Registry) -> None:
    """What would be made of it nobody can tell."""
    restored = Restored(at(provider, credential_type=kind), Credential("access-1"))
    assert fields(restored, providers) == {"connection.credential_type"}


@pytest.mark.parametrize(
    ("provider", "parameters"),
    [
        ("practice", {"subdomain": "evil"}),
        ("practice-realms", {}),
        ("practice-realms", {"realm": "a/../b"}),
        ("practice-realms", {"realm": "a", "host": "evil.example"}),
        ("practice-hosts", {"host": "evil.example:80/x?"}),
        ("practice-hosts", {}),
    ],
)
def test_parameters_that_nobody_could_have_handed_in_are_refused(
    provider: str, parameters: dict[str, str], providers: Registry
) -> None:
    """They stand in addresses: with them goes who is sent the app's secret."""  # S5
    found = fields(Restored(at(provider, parameters=parameters), OAUTH), providers)
    assert found
    assert all(field.startswith("connection.parameters") for field in found)


def test_scopes_that_hold_two_are_refused(providers: Registry) -> None:
    """As everywhere (RFC 6749 §3.3)."""
    restored = Restored(at("practice", requested_scopes=('a"b',)), OAUTH)
    assert fields(restored, providers) == {"connection.scopes"}


def test_a_file_is_read_so_where_the_entries_are_known(providers: Registry) -> None:
    """Each misfit is a fault of its line; without a value."""
    sealer = sealer_for()
    evil = at("practice", parameters={"subdomain": "canary"})
    lines = [
        sealer.first(),
        sealer.line(document_of(evil, OAUTH, [])),
        sealer.line(document_of(at("practice"), OAUTH, [])),
    ]
    file = b"".join([*lines, sealer.last()])
    fault, row = read(file, entries=providers)
    assert isinstance(fault, RowFault)
    assert (fault.number, fault.field) == (2, "connection.parameters.subdomain")
    assert "canary" not in fault.message
    assert row.number == 3

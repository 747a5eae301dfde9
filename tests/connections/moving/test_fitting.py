"""What comes out of an export has to fit the entry here: anybody with the public key can write such a file."""

from dataclasses import replace
from typing import Any

import pytest

from broker.app.heart import Heart
from broker.connections.moving.fitting import misfits
from broker.connections.moving.judging import Judge, Judged
from broker.connections.moving.order import Order
from broker.connections.moving.row import Restored, Row
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


async def test_whatever_is_restored_is_judged_so(heart: Heart, providers: Registry) -> None:
    """Each misfit is a fault of its row, without a value; also of a row that was judged before, by another entry."""
    judge, order = Judge(heart.intake, providers, heart.clock), Order(b"", "x")
    evil, good = (at("practice", parameters=given) for given in ({"subdomain": "canary"}, {}))
    sealer = sealer_for()
    lines = [sealer.first(), *(sealer.line(document_of(each, OAUTH, [])) for each in (evil, good)), sealer.last()]
    first, second = read(b"".join(lines))
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    for ask in (judge.judge, judge.again):
        found = ask(first, order)
        assert isinstance(found, list)
        assert [(fault.number, fault.field) for fault in found] == [(2, "connection.parameters.subdomain")]
        assert "canary" not in found[0].message
        assert isinstance(ask(second, order), Judged)


async def test_parameters_that_the_entry_has_gained_get_their_defaults(heart: Heart, providers: Registry) -> None:
    """An entry may grow after the export; what the connection has stays as it was."""
    judge = Judge(heart.intake, providers, heart.clock)
    whole = of(next(case for case in CASES if case.provider == "practice-aws"), providers)
    assert whole.connection.parameters == {"region": "practice-1"}
    before = replace(whole, connection=replace(whole.connection, parameters={}))
    judged = judge.judge(Row(1, "practice-aws", "ann", {}, restored=before), Order(b"", "x"))
    assert isinstance(judged, Judged)
    assert judged.restored == whole.connection
    elsewhere = replace(whole, connection=replace(whole.connection, parameters={"region": "elsewhere"}))
    judged = judge.judge(Row(1, "practice-aws", "ann", {}, restored=elsewhere), Order(b"", "x"))
    assert isinstance(judged, Judged)
    assert judged.restored == elsewhere.connection

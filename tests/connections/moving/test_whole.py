"""A connection as a document of a file, and back: nothing is believed because it was sealed."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.connections.moving.members import Untakeable
from broker.connections.moving.row import Restored
from broker.connections.moving.whole import document_of, restored_of
from broker.models.account import Account
from broker.models.connection import Credential, Fault, Health
from broker.models.consent import Consent
from tests.vault.samples import NOW, a_connection

CONNECTION = a_connection(
    fallback="con_" + "a" * 22,
    last_used_at=NOW,
    health=Health(NOW, NOW, 2, NOW, NOW, Fault("provider_error", "no", NOW)),
    consents=(Consent(NOW, "browser", ("profile",), ("profile",), Account("usr_1", None), "cs_1", "cl_1"),),
)
CREDENTIAL = Credential("access-1", "refresh-1", "refresh-0", {"private_key": "-----BEGIN\nA\n-----END"})


def document() -> dict[str, Any]:
    """As a file holds it."""
    made: dict[str, Any] = json.loads(json.dumps(document_of(CONNECTION, CREDENTIAL, ["late"])))
    return made


def test_there_and_back() -> None:
    """Everything that a connection can hold."""
    assert restored_of(document()) == Restored(CONNECTION, CREDENTIAL, ("late",))
    bare = replace(CONNECTION, account=None, fallback=None, label=None, consents=(), health=Health())
    assert restored_of(json.loads(json.dumps(document_of(bare, Credential(""), [])))).connection == bare


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for name, one in inner for place in places(one, (*path, name)))]


def put(where: tuple[Any, ...], value: object) -> dict[str, Any]:
    """The document with something else in one place."""
    changed = document()
    target: Any = changed
    for name in where[:-1]:
        target = target[name]
    target[where[-1]] = value
    return changed


CANARY = "canary-7f3a"
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.sampled_from(places(document())), JSON)
def test_whatever_stands_anywhere_it_is_a_connection_or_a_fault(where: tuple[Any, ...], value: object) -> None:
    """Never another exception, and never the value in a fault."""
    message = "taken"
    try:
        restored_of(put(where, value))
    except Untakeable as error:
        message = error.field + error.message
    assert message
    assert CANARY not in message


WRONG: list[tuple[str, Any]] = [
    ("connection.id", "con_1"),
    ("connection.id", "con_" + "a" * 21 + "/"),
    ("connection.tenant", ""),
    ("connection.tenant", "a\nb"),
    ("connection.provider", ""),
    ("connection.subject", ""),
    ("connection.subject", "x" * 256),
    ("connection.status", "revoked"),
    ("connection.status", "unheard of"),
    ("connection.credential_type", "unheard of"),
    ("connection.generation", 0),
    ("connection.generation", 2**53 + 1),
    ("connection.generation", 1.0),
    ("connection.generation", True),
    ("connection.generation", "1"),
    ("connection.grant_id", "a b"),
    ("connection.scopes", ["a b"]),
    ("connection.scopes", "profile"),
    ("connection.requested_scopes", [""]),
    ("connection.minted", {"issuer": "https://a.example"}),
    ("connection.minted.issuer", "https://a.example\r\n"),
    ("connection.created_at", -1),
    ("connection.access_token_expires_at", 253_402_300_800_000),
    ("connection.parameters", {"a": "b\n"}),
    ("connection.account", {"id": ""}),
    ("connection.label", "x" * 201),
    ("connection.metadata", {"a": "x" * 20_000}),
    ("connection.fallback", "con_x"),
    ("connection.health.consecutive_failures", -1),
    ("connection.health.next_refresh_at", -1),
    ("connection.consents.0.at", -1),
    ("connection.consents.0.means", "magic"),
    ("connection.consents", [document()["connection"]["consents"][0]] * 21),
    ("connection.unheard_of", 1),
    ("credential.access_token", "a\r\nX-Evil: 1"),
    ("credential.access_token", None),
    ("credential.refresh_token", ""),
    ("credential.fields", {"password": "a\x00b"}),
    ("credential.fields", {"password": 7}),
    ("parked", ["a"] * 5),
    ("parked", [""]),
    ("more", 1),
]


@pytest.mark.parametrize(("where", "value"), WRONG)
def test_what_is_beyond_its_bounds_is_refused(where: str, value: object) -> None:
    """Types, lengths, ids and times, each as strictly as over the API; the member is named."""
    path = tuple(int(part) if part.isdigit() else part for part in where.split("."))
    with pytest.raises(Untakeable) as refused:
        restored_of(put(path, value))
    assert refused.value.field.split(".")[0] == path[0]


@pytest.mark.parametrize("needed", ["connection", "credential", "connection.tenant", "connection.minted"])
def test_what_is_needed_is_missed(needed: str) -> None:
    """A document without it makes no connection."""
    changed = copy.deepcopy(document())
    target: Any = changed
    *within, last = needed.split(".")
    for name in within:
        target = target[name]
    del target[last]
    with pytest.raises(Untakeable):
        restored_of(changed)

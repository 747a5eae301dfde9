"""Events: what is stored of them, and back."""

import json

from hypothesis import given
from hypothesis import strategies as st

from broker.models.event import Event

TEXT = st.text(max_size=40)


@given(
    tenant=TEXT,
    at=st.integers(0, 2**50),
    connection_id=st.none() | TEXT,
    client_id=st.none() | TEXT,
    request_id=st.none() | TEXT,
    data=st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT), max_size=4),
)
def test_an_event_survives_its_stored_form(
    tenant: str,
    at: int,
    connection_id: str | None,
    client_id: str | None,
    request_id: str | None,
    data: dict[str, object],
) -> None:
    """Whatever the texts hold, decoding answers the event that was encoded."""
    event = Event("token.released", tenant, at, connection_id, client_id, request_id, data)
    assert Event.decode(event.encode()) == event
    assert Event.decode(event.encode().encode()) == event


def test_what_is_empty_is_left_out() -> None:
    """A million events are kept; empty fields would be a third of them."""
    event = Event("keys.rotated", "acme", 1)
    assert json.loads(event.encode()) == {"id": event.id, "type": "keys.rotated", "tenant": "acme", "at": 1}


def test_what_is_shown_has_every_field_and_a_readable_time() -> None:
    """API and sink say the same; ``at`` is RFC 3339, and what is empty is there as ``null``."""
    event = Event("keys.rotated", "acme", 1_700_000_000_123)
    assert event.shown() == {
        "id": event.id,
        "type": "keys.rotated",
        "at": "2023-11-14T22:13:20.123Z",
        "tenant": "acme",
        "connection_id": None,
        "client_id": None,
        "request_id": None,
        "data": {},
    }


def test_the_stored_form_begins_with_the_id_and_ends_with_a_brace() -> None:
    """The id orders events of one millisecond, and scripts add members before the last brace."""
    event = Event("token.released", "acme", 1)
    assert event.encode().startswith(f'{{"id":"{event.id}",')
    assert event.encode().endswith("}")


def test_each_event_has_an_id_of_its_own() -> None:
    """By its id a reader tells a repeat from a second event."""
    assert Event("a.b", "acme", 1).id != Event("a.b", "acme", 1).id

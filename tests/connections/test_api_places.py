"""Where APIs are, as it is remembered: for whom, and of how many connections."""

from dataclasses import replace

from broker.app.heart import Heart
from broker.connections.api_places import ApiPlaces
from broker.models.access import Reach
from broker.models.connection import Connection
from tests.vault.samples import a_connection as a_sample


def a_connection() -> Connection:
    """One at the practice provider."""
    return replace(a_sample(), parameters={})


def test_only_who_can_touch_the_connection_is_told(heart: Heart) -> None:
    """As the store judges, before it is asked."""  # S5
    places = ApiPlaces(heart.upstream, heart.providers)
    connection = a_connection()
    place = places.of(connection)
    assert places.known(connection.id, Reach(connection.tenant, None)) is place
    for reach in (
        Reach("other", None),
        Reach("", None),
        Reach(connection.tenant, frozenset({"other"})),
        Reach(connection.tenant, None, "con_" + "0" * 22),
    ):
        assert places.known(connection.id, reach) is None


def test_those_noted_first_are_forgotten_when_there_is_no_more_room(heart: Heart) -> None:
    """One that has moved takes no room of another."""
    places = ApiPlaces(heart.upstream, heart.providers, remembered=2)
    first, second, third = (a_connection() for _ in range(3))
    everything = Reach(first.tenant, None)
    places.of(first)
    places.of(second)
    moved = places.of(replace(first, grant_id="grant_other"))
    assert places.known(first.id, everything) is moved
    assert places.known(second.id, everything) is not None
    places.of(third)
    assert places.known(first.id, everything) is None
    assert [places.known(each.id, everything) is not None for each in (second, third)] == [True, True]

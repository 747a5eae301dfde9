"""Parameters of a connection: what they may be, and that they never lead elsewhere than the operator meant."""

import pytest

from broker.errors import InvalidRequest
from broker.providers.schema import Provider
from broker.upstream.parameters import check_parameters, choosing_hosts, fill, host_is_fixed
from tests.upstream.conftest import provider_at


def provider(pattern: str = ".*") -> Provider:
    """An entry with a parameter whose own pattern lets everything through."""
    return provider_at(
        "https://{subdomain}.provider.test",
        parameters={
            "subdomain": {"label": "Your subdomain", "pattern": pattern},
            "region": {"label": "Region", "default": "eu"},
        },
    )


def test_values_and_defaults() -> None:
    """What is given is taken, what is left out has its default."""
    assert check_parameters(provider(), {"subdomain": "acme-1"}) == {"subdomain": "acme-1", "region": "eu"}
    assert check_parameters(provider(), {"subdomain": "a", "region": "us"}) == {"subdomain": "a", "region": "us"}


def test_every_fault_is_named() -> None:
    """Unknown, missing and malformed at once."""
    with pytest.raises(InvalidRequest) as caught:
        check_parameters(provider(), {"region": "e u", "colour": "red"})
    assert {fault.field for fault in caught.value.faults} == {
        "parameters.subdomain",
        "parameters.region",
        "parameters.colour",
    }


@pytest.mark.parametrize(
    "value",
    [
        "evil.test/",
        "evil.test#",
        "evil.test?",
        "evil.test\\",
        "user@evil.test",
        "evil.test:8080",
        "a..b",
        ".",
        "..",
        ".a",
        "a.",
        "a-",
        "-a",
        "a b",
        "a\n",
        "a%2fb",
        "{region}",
        "ä",
        "\u3002",
        "",
        "x" * 254,
    ],
)
def test_a_value_can_not_lead_elsewhere(value: str) -> None:
    """Whatever the pattern allows, nothing in a value ends a host, a segment, or starts anything new."""  # E1
    with pytest.raises(InvalidRequest):
        check_parameters(provider(), {"subdomain": value})


@pytest.mark.parametrize("value", ["acme1", "1", "acme\n", "xacmex"])
def test_the_pattern_holds_for_the_whole_value(value: str) -> None:
    """Not just for its beginning, nor up to a line break."""
    with pytest.raises(InvalidRequest):
        check_parameters(provider(pattern="[a-z]{4}"), {"subdomain": value})


def test_values_are_put_into_templates() -> None:
    """Each placeholder, wherever it stands; a value is never taken for a template."""
    assert fill("https://{a}.test/{b}/{a}?x={b}", {"a": "one", "b": "{a}"}) == (
        "https://one.test/%7Ba%7D/one?x=%7Ba%7D"
    )


def test_some_of_them_leave_the_rest_to_the_person() -> None:
    """What is given is judged; what isn't stays open, also where it has a default."""
    assert check_parameters(provider(), {"region": "us"}, all_of_them=False) == {"region": "us"}
    assert check_parameters(provider(), {}, all_of_them=False) == {}
    with pytest.raises(InvalidRequest) as refused:
        check_parameters(provider(), {"region": "u s", "colour": "red"}, all_of_them=False)
    assert [fault.field for fault in refused.value.faults] == ["parameters.colour", "parameters.region"]


def test_which_parameters_choose_a_host() -> None:
    """Any that stands in the host of an address that is called, the API's own among them; a path is no host."""  # K1
    api = provider_at(
        "https://provider.test",
        parameters={name: {"label": name} for name in ("region", "team", "realm")},
        identity={"url": "https://provider.test/{realm}/whoami", "id": "/id"},
        api={"base_url": "https://{region}.provider.test/{team}"},
    )
    assert choosing_hosts(api, ["realm", "region", "team"]) == ["region"]
    assert choosing_hosts(api, ["realm"]) == []
    assert choosing_hosts(provider(), ["subdomain", "region"]) == ["subdomain"]


@pytest.mark.parametrize(
    ("template", "fixed"),
    [
        ("https://provider.test/token", True),
        ("https://provider.test/{tenant}/token?x={y}", True),
        ("https://provider.test?x={y}", True),
        ("https://{subdomain}.provider.test/token", False),
        ("https://{host}/token", False),
        ("https://provider.test{path}", False),
        ("https://provider.test:{port}/token", False),
    ],
)
def test_whose_host_it_is(template: str, fixed: bool) -> None:
    """A host is the operator's only if no part of it is a user's."""  # E1
    assert host_is_fixed(template) is fixed

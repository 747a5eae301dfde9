"""How far a client's reach goes."""

import pytest

from broker.models.access import CLIENT_SCOPES, Client, Reach


@pytest.mark.parametrize(
    ("reach", "tenant", "provider", "covered"),
    [
        (Reach("acme", None), "acme", "any", True),
        (Reach("acme", frozenset({"a", "b"})), "acme", "a", True),
        (Reach("acme", frozenset({"a", "b"})), "acme", "c", False),
        (Reach("acme", frozenset()), "acme", "a", False),
        (Reach("acme", None), "other", "any", False),
        (Reach("acme", frozenset({"a"})), "other", "a", False),
        # S6: nobody is in the tenant without a name, not even who says so.
        (Reach("", None), "", "any", False),
        (Reach("acme", None), "", "any", False),
    ],
)
def test_a_reach_covers_its_tenant_at_its_providers(reach: Reach, tenant: str, provider: str, covered: bool) -> None:
    """Both must fit; a connection without a tenant is nobody's."""  # S5, S6
    assert reach.covers(tenant, provider) is covered


def test_a_clients_reach_is_its_tenant_and_providers() -> None:
    """``None`` is every provider, an empty list is none."""
    client = Client(
        client_id="cl_1", name="app", tenant="acme", scopes=CLIENT_SCOPES, providers=("a",), secret_digests=(),
        return_urls=(), completions=(), created_at=0,
    )  # fmt: skip
    assert client.reach == Reach("acme", frozenset({"a"}))

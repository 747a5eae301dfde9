"""The one policy: scope, tenant, providers, and who opened a session."""

from dataclasses import replace

import pytest

from broker.access.policy import Target, permit
from broker.errors import BrokerError, Forbidden, InsufficientScope, NotFound
from broker.models.access import Caller, Reach
from broker.models.session import Completion, ConnectSession
from tests.vault.samples import a_connection

CALLER = Caller("cl_me", frozenset({"tokens:read"}), Reach("acme", frozenset({"practice"})))
CONNECTION = a_connection(tenant="acme", provider="practice")
SESSION = ConnectSession(
    id="cs_1", tenant="acme", client_id="cl_me", client_name="app", provider="practice", subject="ann",
    completion=Completion.APP, scopes=(), created_at=0, expires_at=1,
)  # fmt: skip


@pytest.mark.parametrize("target", [None, "practice", CONNECTION, SESSION])
def test_what_is_within_reach_is_permitted(target: Target) -> None:
    """The scope is there, and so is the target."""
    permit(CALLER, "tokens:read", target)


@pytest.mark.parametrize("target", [None, "practice", CONNECTION, SESSION, replace(CONNECTION, tenant="other")])
def test_the_scope_is_asked_for_first(target: Target) -> None:
    """Who lacks it learns nothing about the target."""
    with pytest.raises(InsufficientScope) as refused:
        permit(CALLER, "admin", target)
    assert refused.value.scope == "admin"


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (replace(CONNECTION, tenant="other"), NotFound),
        (replace(CONNECTION, tenant=""), NotFound),
        (replace(CONNECTION, provider="elsewhere"), NotFound),
        (replace(SESSION, tenant="other"), NotFound),
        (replace(SESSION, tenant=""), NotFound),
        (replace(SESSION, provider="elsewhere"), NotFound),
        # Another client of the same tenant: a session is its opener's.
        (replace(SESSION, client_id="cl_you"), NotFound),
        ("elsewhere", Forbidden),
    ],
)
def test_what_is_out_of_reach_is_refused(target: Target, error: type[BrokerError]) -> None:
    """Another tenant's, another client's, or at a provider that was not given."""  # S5, S6
    with pytest.raises(error) as refused:
        permit(CALLER, "tokens:read", target)
    assert refused.type is error


def test_a_caller_without_a_tenant_reaches_nothing() -> None:
    """Nor what has no tenant, either."""  # S6
    nobody = replace(CALLER, reach=Reach("", None))
    for tenant in ("", "acme"):
        with pytest.raises(NotFound):
            permit(nobody, "tokens:read", replace(CONNECTION, tenant=tenant))


def test_being_authenticated_can_be_enough() -> None:
    """Where a route takes no scope."""
    permit(replace(CALLER, scopes=frozenset()), None)

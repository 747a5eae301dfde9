"""The state behind the endpoints, with a clock that stands still until it is told to move."""

import pytest

from broker.sandbox.accounts import PEOPLE
from broker.sandbox.behaviour import Behaviour, RevocationEnds, Rotation
from broker.sandbox.errors import OAuthError, ReuseError
from broker.sandbox.grants import Grant, Grants, Issued, verifier_fits
from tests.sandbox.app import CHALLENGE, REDIRECT_URI, VERIFIER, challenge_of

SCOPES = ("profile", "messages.read")


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def grants(clock: Clock) -> Grants:
    return Grants(clock)


def new_code(grants: Grants, behaviour: Behaviour) -> str:
    grant = Grant("client-a", PEOPLE[0], SCOPES)
    return grants.new_code(grant, redirect_uri=REDIRECT_URI, challenge=CHALLENGE, behaviour=behaviour)


def redeem(grants: Grants, code: str, behaviour: Behaviour, *, client_id: str = "client-a") -> Issued:
    return grants.redeem(code, client_id=client_id, redirect_uri=REDIRECT_URI, verifier=VERIFIER, behaviour=behaviour)


def refresh(grants: Grants, token: str | None, behaviour: Behaviour, *, client_id: str = "client-a") -> Issued:
    assert token is not None
    return grants.refresh(token, client_id=client_id, scopes=None, behaviour=behaviour)


def connected(grants: Grants, behaviour: Behaviour) -> Issued:
    return redeem(grants, new_code(grants, behaviour), behaviour)


def test_a_code_belongs_to_its_client(grants: Grants) -> None:
    """Another client can't redeem a code, and its trying doesn't spend it."""
    behaviour = Behaviour()
    code = new_code(grants, behaviour)
    with pytest.raises(OAuthError, match="invalid_grant"):
        redeem(grants, code, behaviour, client_id="client-b")
    assert redeem(grants, code, behaviour).scopes == SCOPES


def test_a_code_expires_with_its_time_to_live(grants: Grants, clock: Clock) -> None:
    """A code works until just before its time is over, and not at that moment."""
    behaviour = Behaviour(code_ttl=10)
    early, late = new_code(grants, behaviour), new_code(grants, behaviour)
    clock.now = 9.9
    assert redeem(grants, early, behaviour).access_token
    clock.now = 10
    with pytest.raises(OAuthError, match="expired"):
        redeem(grants, late, behaviour)


def test_a_code_used_twice_ends_what_it_gave(grants: Grants) -> None:
    """The second redemption is refused and revokes the tokens of the first (RFC 6749 §4.1.2)."""
    behaviour = Behaviour()
    code = new_code(grants, behaviour)
    issued = redeem(grants, code, behaviour)
    with pytest.raises(ReuseError):
        redeem(grants, code, behaviour)
    assert grants.live_access_token(issued.access_token) is None
    with pytest.raises(OAuthError, match="revoked"):
        refresh(grants, issued.refresh_token, behaviour)


@pytest.mark.parametrize("length", [42, 129])
def test_a_verifier_of_the_wrong_length_never_fits(length: int) -> None:
    """RFC 7636 §4.1: 43 to 128 characters, even where the hash would match."""
    assert not verifier_fits("x" * length, challenge_of("x" * length))
    assert verifier_fits("x" * 43, challenge_of("x" * 43))
    assert verifier_fits("x" * 128, challenge_of("x" * 128))


def test_without_rotation_the_refresh_token_stays(grants: Grants) -> None:
    """Mode ``none``: nothing is returned and the same token refreshes again."""
    behaviour = Behaviour(rotation=Rotation.NONE)  # P10
    issued = connected(grants, behaviour)
    for _ in range(3):
        assert refresh(grants, issued.refresh_token, behaviour).refresh_token is None


def test_grace_keeps_the_old_token_for_a_while(grants: Grants, clock: Clock) -> None:
    """Mode ``grace``: the old token goes on issuing until grace is over, counted from its first use."""
    behaviour = Behaviour(rotation=Rotation.GRACE, grace=60)  # P10
    old = connected(grants, behaviour).refresh_token
    first = refresh(grants, old, behaviour).refresh_token
    clock.now = 59.9
    second = refresh(grants, old, behaviour).refresh_token
    assert len({old, first, second}) == 3
    clock.now = 60
    with pytest.raises(ReuseError):
        refresh(grants, old, behaviour)
    assert refresh(grants, first, behaviour).access_token
    assert refresh(grants, second, behaviour).access_token


def test_strict_refuses_the_old_token_and_keeps_the_family(grants: Grants) -> None:
    """Mode ``strict``: the old token is dead at once; its successor and the access tokens live on."""
    behaviour = Behaviour(rotation=Rotation.STRICT)  # P10
    issued = connected(grants, behaviour)
    successor = refresh(grants, issued.refresh_token, behaviour)
    with pytest.raises(ReuseError):
        refresh(grants, issued.refresh_token, behaviour)
    assert grants.live_access_token(successor.access_token)
    assert refresh(grants, successor.refresh_token, behaviour).access_token


def test_revoke_on_reuse_ends_the_family(grants: Grants) -> None:
    """Mode ``revoke_on_reuse``: the old token coming again kills every token of the grant, no other's."""
    behaviour = Behaviour(rotation=Rotation.REVOKE_ON_REUSE)  # P10
    issued, sibling = connected(grants, behaviour), connected(grants, behaviour)
    successor = refresh(grants, issued.refresh_token, behaviour)
    with pytest.raises(ReuseError):
        refresh(grants, issued.refresh_token, behaviour)
    assert grants.live_access_token(issued.access_token) is None
    assert grants.live_access_token(successor.access_token) is None
    with pytest.raises(OAuthError, match="revoked"):
        refresh(grants, successor.refresh_token, behaviour)
    assert grants.live_access_token(sibling.access_token)
    assert refresh(grants, sibling.refresh_token, behaviour).access_token


def test_a_refused_scope_does_not_rotate(grants: Grants) -> None:
    """Asking for more than was granted is refused, and the refresh token is still the current one."""
    behaviour = Behaviour(rotation=Rotation.STRICT)
    token = connected(grants, behaviour).refresh_token
    assert token is not None
    with pytest.raises(OAuthError, match="invalid_scope"):
        grants.refresh(token, client_id="client-a", scopes=("messages.write",), behaviour=behaviour)
    assert refresh(grants, token, behaviour).access_token


def test_a_refresh_token_belongs_to_its_client(grants: Grants) -> None:
    """Another client's refresh is refused and doesn't count as the token's use."""
    behaviour = Behaviour(rotation=Rotation.STRICT)
    token = connected(grants, behaviour).refresh_token
    with pytest.raises(OAuthError, match="invalid_grant"):
        refresh(grants, token, behaviour, client_id="client-b")
    assert refresh(grants, token, behaviour).access_token


def test_only_the_owner_revokes(grants: Grants) -> None:
    """A revocation by another client changes nothing."""
    behaviour = Behaviour()
    issued = connected(grants, behaviour)
    assert issued.refresh_token is not None
    grants.revoke(issued.refresh_token, client_id="client-b", behaviour=behaviour)
    grants.revoke(issued.access_token, client_id="client-b", behaviour=behaviour)
    assert grants.live_access_token(issued.access_token)
    assert grants.live_refresh_token(issued.refresh_token, behaviour)


def test_an_access_token_expires(grants: Grants, clock: Clock) -> None:
    """It works until its time to live is over; the refresh token outlives it."""
    behaviour = Behaviour(access_token_ttl=5)
    issued = connected(grants, behaviour)
    clock.now = 4.9
    assert grants.live_access_token(issued.access_token)
    clock.now = 5
    assert grants.live_access_token(issued.access_token) is None
    assert refresh(grants, issued.refresh_token, behaviour).expires_in == 5


def test_revoking_all_grants_spares_what_comes_later(grants: Grants) -> None:
    """Codes and tokens of people end, a client's own token and later grants don't."""
    behaviour = Behaviour()
    waiting, issued = new_code(grants, behaviour), connected(grants, behaviour)
    machine = grants.issue_to_client("client-a", ("messages.read",), behaviour)
    grants.revoke_grants()
    with pytest.raises(OAuthError, match="revoked"):
        redeem(grants, waiting, behaviour)
    with pytest.raises(OAuthError, match="revoked"):
        refresh(grants, issued.refresh_token, behaviour)
    assert grants.live_access_token(machine.access_token)
    assert connected(grants, behaviour).access_token


def test_nothing_issued_shows_its_tokens() -> None:
    """The ``repr`` of an answer can be logged without giving the tokens away."""
    issued = Issued("pat_canary", "prt_canary", 60, SCOPES)
    assert "canary" not in repr(issued)


def test_a_refresh_token_ends_when_its_time_is_over(grants: Grants, clock: Clock) -> None:
    """Each refresh counts it anew, with rotation or without; the answers say how long."""
    for rotation in (Rotation.NONE, Rotation.STRICT):
        behaviour = Behaviour(rotation=rotation, refresh_token_expires_in=100)
        first = redeem(grants, new_code(grants, behaviour), behaviour)
        assert first.refresh_token_expires_in == 100
        clock.now += 99
        second = refresh(grants, first.refresh_token, behaviour)
        assert second.refresh_token_expires_in == 100
        clock.now += 99
        third = refresh(grants, second.refresh_token or first.refresh_token, behaviour)
        clock.now += 100
        last = third.refresh_token or first.refresh_token
        assert last is not None
        assert grants.live_refresh_token(last, behaviour) is None
        with pytest.raises(OAuthError, match="expired"):
            refresh(grants, last, behaviour)


def test_an_idle_refresh_token_ends_without_a_word(grants: Grants, clock: Clock) -> None:
    """Unused for so long it is refused; used in time it goes on, and no answer speaks of it."""
    behaviour = Behaviour(idle_expiry=50)
    issued = redeem(grants, new_code(grants, behaviour), behaviour)
    for _ in range(3):
        clock.now += 49
        assert refresh(grants, issued.refresh_token, behaviour).refresh_token_expires_in is None
    clock.now += 50
    with pytest.raises(OAuthError, match="expired"):
        refresh(grants, issued.refresh_token, behaviour)


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_a_revocation_can_end_all_of_an_account(grants: Grants, which: str) -> None:
    """Every grant of that account to that app, whichever token was revoked; another client's order changes nothing."""
    # P9
    behaviour = Behaviour(revocation_ends=RevocationEnds.ACCOUNT)
    first, second = (redeem(grants, new_code(grants, behaviour), behaviour) for _ in range(2))
    others = grants.mint(Grant("client-b", PEOPLE[0], SCOPES), behaviour)
    bobs = grants.mint(Grant("client-a", PEOPLE[1], SCOPES), behaviour)
    grants.revoke(getattr(first, which), client_id="client-b", behaviour=behaviour)
    assert grants.live_access_token(second.access_token)
    grants.revoke(getattr(first, which), client_id="client-a", behaviour=behaviour)
    assert [bool(grants.live_access_token(each.access_token)) for each in (first, second, others, bobs)] == [
        *(False, False),
        *(True, True),
    ]

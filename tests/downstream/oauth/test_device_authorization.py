"""``POST /oauth/device_authorization`` (RFC 8628 §3.1, §3.2): what a machine may ask, and what it shows."""

import re

import httpx2
import pytest
import redis

from broker.app.heart import Heart
from tests.downstream.answers import oauth_error_of
from tests.journey import MakeClient, everything_in, snapshot
from tests.machine import Machine, MakeMachine
from tests.world import PUBLIC_URL


async def test_the_answer_has_every_field(make_machine: MakeMachine) -> None:
    """§3.2; the user code is eight letters of twenty consonants (§6.1), the device code as long as any secret."""
    codes = await (await make_machine()).begin()
    assert codes.keys() == {
        *("device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval")
    }
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", codes["user_code"])
    assert re.fullmatch(r"dc_[0-9A-Za-z]{22}_[0-9A-Za-z]{43}", codes["device_code"])
    assert codes["verification_uri"] == f"{PUBLIC_URL}/device"
    assert codes["verification_uri_complete"] == f"{PUBLIC_URL}/device?user_code={codes['user_code']}"
    assert (codes["expires_in"], codes["interval"]) == (900, 5)


async def test_no_answer_is_cached(make_machine: MakeMachine) -> None:
    """It holds secrets."""
    assert (await (await make_machine()).ask()).headers["cache-control"] == "no-store"


async def test_a_client_logs_no_machines_in_unless_it_was_registered_for_that(
    make_client: MakeClient, raw_store: redis.Redis
) -> None:
    """Off by default, whatever scopes it has; nothing is begun."""  # D5
    app = await make_client("app")
    before = snapshot(raw_store)
    for path, form in (
        ("/oauth/device_authorization", {"provider": "practice"}),
        ("/oauth/token", {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "dc_x"}),
    ):
        answer = await app.http.post(path, data=form, auth=(app.client_id, app.secret))
        assert (answer.status_code, oauth_error_of(answer)) == (400, "unauthorized_client")
    assert snapshot(raw_store) == before


async def test_a_confidential_client_must_prove_itself(make_machine: MakeMachine) -> None:
    """Its id alone is nothing: only a client that has no secret is taken at its word."""  # D4
    confidential = await make_machine(public=False)
    impostor = Machine(confidential.http, confidential.client_id)
    assert (await impostor.ask()).status_code == 401
    public = await make_machine()
    assert (await Machine(public.http, public.client_id, "bcs_made_up").ask()).status_code == 401
    assert (await confidential.ask()).status_code == 200


BAD_REQUESTS: dict[str, tuple[dict[str, str], str]] = {
    "no such provider": ({"provider": "nowhere"}, "invalid_request"),
    "a provider that lacks settings": ({"provider": "unconfigured"}, "invalid_request"),
    "a scope that no client has": ({"scope": "everything"}, "invalid_scope"),
    "a scope that means nothing for one connection": ({"scope": "admin"}, "invalid_scope"),
    "a provider scope that its entry doesn't list": ({"provider_scope": "profile admin"}, "invalid_scope"),
    "more scopes than anybody needs": ({"provider_scope": "profile " * 51}, "invalid_request"),
    "scopes of many bytes": ({"provider_scope": "s" * 4001}, "invalid_request"),
    "a subject of a public client": ({"subject": "ann"}, "invalid_request"),
    "a name that breaks lines": ({"device_name": "a\nb"}, "invalid_request"),
    "a name of blanks that are letters": ({"device_name": "\u3164\u115f \u2800"}, "invalid_request"),
    "a name of marks with nothing to stand on": ({"device_name": "\u034f\ufe0f"}, "invalid_request"),
    "a name without end": ({"device_name": "n" * 65}, "invalid_request"),
    "parameters that are no object": ({"parameters": "[1]"}, "invalid_request"),
    "parameters without end": ({"parameters": "[" * 1024}, "invalid_request"),
    "parameters of many bytes": ({"parameters": '{"realm": "' + "x" * 1024 + '"}'}, "invalid_request"),
    "parameters that the provider has not": ({"parameters": '{"realm": "x"}'}, "invalid_request"),
    "no parameters where they are needed": ({"provider": "practice-realms"}, "invalid_request"),
}


@pytest.mark.parametrize("fault", BAD_REQUESTS)
async def test_what_cant_be_is_refused_and_begins_nothing(
    make_machine: MakeMachine, raw_store: redis.Redis, fault: str
) -> None:
    """Each with the protocol's word for it, and without the value."""
    form, error = BAD_REQUESTS[fault]
    machine = await make_machine()
    before = snapshot(raw_store)
    answer = await machine.ask(**form)
    assert (answer.status_code, oauth_error_of(answer)) == (400, error)
    assert snapshot(raw_store) == before


async def test_every_parameter_at_fault_is_told_with_what_is_wrong(make_machine: MakeMachine) -> None:
    """Whoever sits at the machine sees which to add, which to drop and which to mend; no value is repeated."""
    machine = await make_machine()
    answer = await machine.ask("practice-realms", parameters='{"host": "canary"}')
    described = answer.json()["error_description"]
    assert "parameters.host: unknown" in described
    assert "parameters.realm: required" in described
    assert "canary" not in described


async def test_a_client_that_proves_itself_may_ask_for_any_well_formed_scope(make_machine: MakeMachine) -> None:
    """As with a connect session; a public client is anybody, who would choose how much there is to be had."""  # D5
    confidential = await make_machine(public=False)
    assert (await confidential.ask(provider_scope="profile messages.send")).status_code == 200
    assert oauth_error_of(await confidential.ask(provider_scope='a"b')) == "invalid_request"


async def test_a_provider_the_client_was_not_given_is_refused(make_machine: MakeMachine) -> None:
    """As everywhere else."""  # S5
    machine = await make_machine(providers=("practice-two",))
    assert oauth_error_of(await machine.ask("practice")) == "invalid_request"
    assert (await machine.ask("practice-two")).status_code == 200


async def test_who_proves_nothing_does_not_choose_who_gets_the_apps_secret(make_machine: MakeMachine) -> None:
    """A host that a caller names would be sent the client secret with the code; a realm in a path is just a name."""
    # K1
    public, confidential = await make_machine(), await make_machine(public=False)
    form = {"provider": "practice-hosts", "parameters": '{"host": "evil.example"}'}
    assert oauth_error_of(await public.ask(**form)) == "invalid_request"
    assert (await confidential.ask(**form)).status_code == 200
    assert (await public.ask("practice-hosts")).status_code == 200
    assert (await public.ask("practice-realms", parameters='{"realm": "x"}')).status_code == 200


async def test_each_login_has_codes_of_its_own(make_machine: MakeMachine, heart: Heart) -> None:
    """No two machines show the same code at the same time."""
    machine = await make_machine(public=False)
    shown = [(await machine.begin())["user_code"] for _ in range(20)]
    assert len(set(shown)) == len(shown)
    authorization, _ = await heart.devices.approvals.find(shown[0])
    again = heart.devices.approvals._stored
    assert await again.create(authorization) is False


async def test_neither_code_lies_in_the_store(make_machine: MakeMachine, raw_store: redis.Redis) -> None:
    """The device code as a digest; the user code stands with its attempt, and in no key."""  # K1
    codes = await (await make_machine()).begin()
    stored, keys = everything_in(raw_store), b" ".join(map(bytes, raw_store.scan_iter()))
    assert codes["device_code"].encode() not in stored
    assert codes["user_code"].replace("-", "").encode() not in keys


async def test_a_flood_is_refused_and_leaves_bounded_memory(make_machine: MakeMachine, raw_store: redis.Redis) -> None:
    """Who only says to be a public client begins thirty logins a minute, and each is gone soon after its end."""  # F8
    machine = await make_machine()
    answers = [await machine.ask() for _ in range(35)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429] * 5
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    begun = list(raw_store.scan_iter("broker:da_*"))
    assert len(begun) == 30
    for key in (*begun, *raw_store.scan_iter("broker:user_code:*"), *raw_store.scan_iter("broker:count:*")):
        assert 0 < raw_store.pttl(key) <= 1_500_000


async def test_an_authenticated_client_is_not_limited(make_machine: MakeMachine) -> None:
    """It is trusted not to hurt itself, as elsewhere."""
    machine = await make_machine(public=False)
    assert {(await machine.ask()).status_code for _ in range(40)} == {200}


async def test_the_endpoint_takes_forms_alone(make_machine: MakeMachine, http: httpx2.AsyncClient) -> None:
    """As all of the OAuth face."""  # S10
    machine = await make_machine()
    body = {"client_id": machine.client_id, "provider": "practice"}
    assert (await http.post("/oauth/device_authorization", json=body)).status_code == 415

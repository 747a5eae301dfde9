"""A handler can't read or answer what its operation doesn't declare."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.responses import Response

from broker.app.heart import Heart
from broker.downstream.api.bodies import Body, FetchToken, ListEvents, Paging
from broker.downstream.api.gate import JSON, Call, Gate
from broker.downstream.api.repeats import Repeats
from broker.downstream.api.views import DeletedClient, ReferenceView
from broker.downstream.oauth.answers import BrokerTokenAnswer, Introspected
from broker.downstream.oauth.endpoint import OAUTH, OAuthCall, OAuthEndpoint
from broker.downstream.oauth.forms import TokenForm
from broker.downstream.operation import Operation
from broker.http.front import Front
from tests.http.last_resort import Raising
from tests.world import PUBLIC_URL, ServiceClient

_DECLARED: dict[str, Any] = {"name": "try", "path": "/try", "tag": "Tokens", "summary": "Try."}
_ASKED = Operation(
    face=JSON, method="POST", body=FetchToken, query=ListEvents, answer=ReferenceView, status=201, **_DECLARED
)


class _Other(Body):
    """Takes nothing, and would be content with the empty body."""


async def asked_of(
    heart: Heart, client: ServiceClient, handler: Callable[[Call], Awaitable[Response]]
) -> httpx2.Response:
    """The answer of this handler to an empty POST."""
    route = Gate(heart.authenticator, heart.records, Repeats(heart.repeats).answer, heart.clock).route(_ASKED, handler)
    app = Front([route], last_resort=Raising(), trusted_proxies=())
    headers = {"Authorization": f"Bearer {await client.broker_token()}"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=PUBLIC_URL) as http:
        return await http.post("/try", headers=headers)


async def test_what_is_declared_can_be_read_and_answered(heart: Heart, app: ServiceClient) -> None:
    """With the status that is declared."""

    async def handler(call: Call) -> Response:
        assert isinstance(call.body(FetchToken), FetchToken)
        assert isinstance(call.query(ListEvents), ListEvents)
        return call.answer(ReferenceView(reference="ref", expires_in=1))

    answer = await asked_of(heart, app, handler)
    assert (answer.status_code, answer.json()) == (201, {"reference": "ref", "expires_in": 1})


async def test_another_body_query_or_answer_is_our_own_bug(heart: Heart, app: ServiceClient) -> None:
    """It is raised, so no test of the route can pass."""

    declared = ReferenceView(reference="ref", expires_in=1)

    async def body(call: Call) -> Response:
        call.body(_Other)
        return call.answer(declared)

    async def query(call: Call) -> Response:
        call.query(Paging)
        return call.answer(declared)

    async def answer(call: Call) -> Response:
        return call.answer(DeletedClient(client_id="cl", status="deleted"))

    for handler in (body, query, answer):
        with pytest.raises(TypeError, match="declared"):
            await asked_of(heart, app, handler)


async def test_the_oauth_face_has_no_parameter_that_is_not_declared(heart: Heart, app: ServiceClient) -> None:
    """Others are ignored (RFC 6749 §3.2), by the handler, too; another answer than the declared one is our bug."""
    declared = Operation(face=OAUTH, method="POST", body=TokenForm, answer=Introspected, **_DECLARED)
    seen: list[OAuthCall] = []

    async def handler(call: OAuthCall) -> Response:
        seen.append(call)
        return call.answer(Introspected(active=False))

    async def another(call: OAuthCall) -> Response:
        return call.answer(BrokerTokenAnswer(access_token="t", token_type="Bearer", expires_in=1, scope=""))

    async def none(call: OAuthCall) -> Response:
        return call.answer(None)

    endpoint = OAuthEndpoint(heart.authenticator, heart.clock)
    form = {"token": "t", "surprise": "s"}
    for taken in (handler, another, none):
        routes = [endpoint.route(declared, taken)]
        served = Front(routes, last_resort=Raising(), trusted_proxies=())
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(served), base_url=PUBLIC_URL) as http:
            auth = (app.client_id, app.secret)
            if taken is handler:
                assert (await http.post("/try", data=form, auth=auth)).json() == {"active": False}
            else:
                with pytest.raises(TypeError, match="declared"):
                    await http.post("/try", data=form, auth=auth)
    assert [dict(call.parameters) for call in seen] == [{"token": "t"}]

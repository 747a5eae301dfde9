"""The client credentials grant."""

import pytest

from broker.upstream.client_credentials import client_credentials
from broker.upstream.egress import Egress
from broker.upstream.endpoints import resolve
from broker.upstream.token_response import TokenSet
from tests.upstream.conftest import NOW, MakeProvider
from tests.upstream.practice_server import PracticeServer, json_answer


@pytest.mark.parametrize(("scopes", "sent"), [(["a", "b"], {"scope": "a,b"}), ([], {})])
async def test_a_token_for_the_app_itself(
    server: PracticeServer, egress: Egress, make_provider: MakeProvider, scopes: list[str], sent: dict[str, str]
) -> None:
    """RFC 6749 §4.4.2: the grant, and the scopes if there are any."""
    server.answers["/token"] = json_answer({"access_token": "at-1", "expires_in": 60})
    provider = make_provider(scope_separator=",")
    endpoints = resolve(provider, {}, None)
    tokens = await client_credentials(egress, lambda: NOW, provider, endpoints, scopes=scopes)
    assert tokens == TokenSet("at-1", None, 60, tuple(scopes))
    assert [asked.form for asked in server.asked] == [{"grant_type": "client_credentials", **sent}]

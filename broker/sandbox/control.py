"""``/counters`` and ``/control``: see what was asked, change the behaviour while it runs.

These exist only because the provider listens on loopback and nowhere else. ``/control`` insists on a JSON
content type, which a page of another site can't send without a preflight that nobody here answers.
"""

import json
from collections.abc import Callable
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from broker.sandbox.accounts import PEOPLE, SCOPES
from broker.sandbox.behaviour import SettingError
from broker.sandbox.devices import DeviceAuthorization, decide
from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.grants import Grant
from broker.sandbox.keys import KINDS, owner
from broker.sandbox.parameters import read_body
from broker.sandbox.provider import Provider

_MOST_GRANTS = 100_000


class Control:
    """For tests and the demo; no client of the provider uses these."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._actions: dict[str, Callable[[], None]] = {
            "reset": provider.counters.reset,
            "reset_counters": provider.counters.reset,
            "expire_access_tokens": provider.grants.expire_access_tokens,
            "revoke_grants": provider.grants.revoke_grants,
        }
        self._decisions: dict[str, Callable[[DeviceAuthorization], Grant | None]] = {
            "approve_device": lambda asked: Grant(asked.client_id, PEOPLE[0], asked.scopes),
            "deny_device": lambda _: None,
        }

    async def counters(self, _request: Request) -> Response:
        """What the provider was asked so far."""
        return JSONResponse(self._provider.counters.as_json(), headers=NO_STORE)

    async def change(self, request: Request) -> Response:
        """Set the given knobs, then do the actions that are ``true``; all or, with a 400, nothing.

        ``approve_device`` and ``deny_device`` are actions, too, whose value is the user code of a device that waits:
        the first account allows all it asks for, or nothing.
        With ``"reset": true`` all other knobs are as at the start again, and the counters at zero.
        Answers the behaviour now in force.
        """
        asked = _json_object(request.headers.get("content-type", ""), await read_body(request))
        actions = {name: asked.pop(name) for name in self._actions if name in asked}
        for name, value in actions.items():
            if not isinstance(value, bool):
                raise OAuthError("invalid_request", f"{name}: must be true or false")
        decided = {name: self._waiting(name, asked.pop(name)) for name in self._decisions if name in asked}
        now = self._provider.at_the_start if actions.get("reset") else self._provider.behaviour
        try:
            self._provider.change(now.changed(asked))
        except SettingError as error:
            raise OAuthError("invalid_request", str(error)) from None
        for name, wanted in actions.items():
            if wanted:
                self._actions[name]()
        for name, attempt in decided.items():
            decide(attempt, self._decisions[name](attempt))
        return JSONResponse(asdict(self._provider.behaviour), headers=NO_STORE)

    def _waiting(self, action: str, user_code: object) -> DeviceAuthorization:
        attempt = self._provider.devices.waiting(user_code) if isinstance(user_code, str) else None
        if attempt is None:
            raise OAuthError("invalid_request", f"{action}: must be the user code of a device that waits")
        return attempt

    async def make_key(self, request: Request) -> Response:
        """``{"kind": "api_key", "account": "bob@practice.example"}``: one more credential of that kind.

        Answers the credential as it is handed in at the broker. The account is the first one where nobody says; a
        service account is its own.
        """
        asked = _json_object(request.headers.get("content-type", ""), await read_body(request))
        kind, account = asked.get("kind"), owner(asked.get("account"))
        if kind not in KINDS:
            raise OAuthError("invalid_request", f"kind: must be one of {', '.join(KINDS)}")
        if account is None:
            raise OAuthError("invalid_request", "account: must be the e-mail address of an account")
        made = self._provider.keys.make(kind, account, token_endpoint=f"{self._provider.issuer}/token")
        return JSONResponse(made, headers=NO_STORE)

    async def mint(self, request: Request) -> Response:
        """Make ``{"count": n}`` grants of the first account to the first client, each with all scopes.

        Answers a list of ``access_token`` and ``refresh_token``: connections by the thousand for measurements, without
        as many consents.
        """
        asked = _json_object(request.headers.get("content-type", ""), await read_body(request))
        count = asked.get("count")
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MOST_GRANTS:
            raise OAuthError("invalid_request", f"count: must be a whole number, 0 to {_MOST_GRANTS}")
        provider, client_id = self._provider, next(iter(self._provider.clients))
        grants = (Grant(client_id, PEOPLE[0], tuple(SCOPES)) for _ in range(count))
        issued = (provider.grants.mint(grant, provider.behaviour) for grant in grants)
        tokens = [{"access_token": each.access_token, "refresh_token": each.refresh_token} for each in issued]
        return JSONResponse(tokens, headers=NO_STORE)


def _json_object(content_type: str, body: bytes) -> dict[str, object]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise OAuthError("invalid_request", "the body must be application/json", status=415)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise OAuthError("invalid_request", "the body must be JSON") from None
    if not isinstance(value, dict):
        raise OAuthError("invalid_request", "the body must be a JSON object")
    return value

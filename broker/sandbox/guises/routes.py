"""``/as/{name}/HOST/PATH``: which endpoint of a guise an address is; and ``/control/guises``."""

import json

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker.sandbox.errors import NO_STORE, OAuthError
from broker.sandbox.guises.api import api, installation, whoami
from broker.sandbox.guises.authorize import authorize
from broker.sandbox.guises.description import Description
from broker.sandbox.guises.device import decide_device, device
from broker.sandbox.guises.guise import Guise
from broker.sandbox.guises.revoke import revoke
from broker.sandbox.guises.templates import answered
from broker.sandbox.guises.token import token
from broker.sandbox.parameters import read_body
from broker.sandbox.provider import Provider

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Guises:
    """All guises by their names."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._guises: dict[str, Guise] = {}

    def routes(self) -> list[Route]:
        """Where they are, and where they are told how to be."""
        return [
            Route("/as/{name}/{address:path}", self.play, methods=_METHODS),
            Route("/control/guises/{name}", self.describe, methods=["PUT"]),
            Route("/control/guises/{name}", self.order, methods=["POST"]),
            Route("/control/guises/{name}", self.look, methods=["GET"]),
        ]

    async def describe(self, request: Request) -> Response:
        """Appear as the provider that the body describes, from now on and with nothing that was before."""
        try:
            description = Description.model_validate_json(await _json_body(request))
        except ValidationError as error:
            where = [".".join(map(str, each["loc"])) for each in error.errors(include_input=False)]
            raise OAuthError("invalid_request", f"wrong or unknown: {', '.join(where)}") from None
        name = request.path_params["name"]
        self._guises[name] = Guise(name, description, around=self._provider)
        return JSONResponse(self._guises[name].as_json(), headers=NO_STORE)

    async def look(self, request: Request) -> Response:
        """What was asked, allowed and refused."""
        return JSONResponse(self._named(request).as_json(), headers=NO_STORE)

    async def order(self, request: Request) -> Response:
        """``{"end_grants": true}``: what people allowed is over. ``{"approve_device": "CODE"}``, ``deny_device``."""
        guise = self._named(request)
        try:
            order = json.loads(await _json_body(request))
        except (ValueError, RecursionError):
            raise OAuthError("invalid_request", "the body must be JSON") from None
        match order:
            case {"end_grants": True, **others} if not others:
                guise.provider.grants.revoke_grants()
            case {"approve_device": str(code), **others} if not others:
                decide_device(guise, code, guise.account)
            case {"deny_device": str(code), **others} if not others:
                decide_device(guise, code, None)
            case _:
                raise OAuthError("invalid_request", "one of end_grants, approve_device, deny_device")
        return JSONResponse(guise.as_json(), headers=NO_STORE)

    async def play(self, request: Request) -> Response:
        """The endpoint that the provider has at this address."""
        guise, address, method = self._named(request), request.path_params["address"], request.method
        about = guise.description
        found = (address, method)
        for document in about.documents:
            if found == (document.at, "GET"):
                guise.asked["documents"] += 1
                return answered(document.answer, guise.values())
        if about.authorize and address == about.authorize.at and method in {"GET", "POST"}:
            return await authorize(guise, about.authorize, request)
        if about.token and found == (about.token.at, "POST"):
            return await token(guise, about.token, request)
        if about.device and found == (about.device.at, "POST"):
            return await device(guise, about.device, request)
        if about.revoke and found == (about.revoke.at, about.revoke.method):
            return await revoke(guise, about.revoke, request)
        if about.whoami and found == (about.whoami.at, about.whoami.method):
            return await whoami(guise, about.whoami, request)
        if about.installations and method == "POST" and (named := _installation(about.installations.at, address)):
            return await installation(guise, about.installations, request, named)
        if about.api and f"{address}/".startswith(f"{about.api.at}/"):
            return await api(guise, about.api, request, address)
        guise.refusals.append(f"{method} {address}: nothing is there")
        raise OAuthError("not_found", "nothing is there", status=404)

    def _named(self, request: Request) -> Guise:
        guise = self._guises.get(request.path_params["name"])
        if guise is None:
            raise OAuthError("not_found", "there is no such guise", status=404)
        return guise


def _installation(template: str, address: str) -> str:
    """What stands at ``address`` where ``template`` has ``{installation_id}``; empty: it is another address."""
    before, _, after = template.partition("{installation_id}")
    named = address.removeprefix(before).removesuffix(after)
    return named if f"{before}{named}{after}" == address and "/" not in named else ""


async def _json_body(request: Request) -> bytes:
    # A page of another site can't send this type without a preflight, which nobody here answers.
    if request.headers.get("content-type") != "application/json":
        raise OAuthError("invalid_request", "the body must be application/json", status=415)
    return await read_body(request)

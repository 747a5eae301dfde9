"""A service as the fault runs have it: it fetches tokens, and calls the provider with what it got."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker answered to a fetch."""

    status: int
    """0: the connection ended without an answer."""
    code: str = ""
    generation: int = 0
    token: str = field(default="", repr=False)
    accepted: bool = False
    """Whether the provider took that token, asked at once."""
    retry_after: str | None = None
    at: float = field(default_factory=time.time)

    @property
    def served(self) -> bool:
        """A token, and it works."""
        return self.status == 200 and self.accepted

    @property
    def later(self) -> bool:
        """Come back in a moment; said as it has to be said."""
        return self.status == 503 and self.retry_after is not None

    @property
    def over(self) -> bool:
        """The person has to come back."""
        return self.status == 409 and self.code == "reauth_required"

    @property
    def pause(self) -> float:
        """Seconds until asking again makes sense, at most one."""
        wanted = self.retry_after or "1"
        return min(float(wanted) if wanted.isdecimal() else 1.0, 1.0)


class Service:
    """Fetches from whichever broker it is told to."""

    def __init__(self, bearer: str, providers: dict[str, httpx2.AsyncClient]) -> None:
        self._headers = {"Authorization": f"Bearer {bearer}"}
        self._providers = providers

    async def fetch(self, broker: httpx2.AsyncClient, connection_id: str, rotation: str, **body: Any) -> Answer:
        """``POST /v1/connections/{id}/token``, and what the provider makes of the token."""
        path = f"/v1/connections/{connection_id}/token"
        try:
            answer = await broker.post(path, json=body, headers=self._headers)
        except httpx2.TransportError:
            return Answer(0)
        said = _json(answer)
        if answer.status_code != 200:
            return Answer(
                answer.status_code, code=str(said.get("code", "")), retry_after=answer.headers.get("Retry-After")
            )
        token = said["access_token"]
        return Answer(200, generation=said["generation"], token=token, accepted=await self._accepted(rotation, token))

    async def show(self, broker: httpx2.AsyncClient, connection_id: str) -> dict[str, Any]:
        """``GET /v1/connections/{id}``; ``{}`` where there is no answer."""
        try:
            answer = await broker.get(f"/v1/connections/{connection_id}", headers=self._headers)
        except httpx2.TransportError:
            return {}
        return _json(answer) if answer.status_code == 200 else {}

    async def _accepted(self, rotation: str, token: str) -> bool:
        answer = await self._providers[rotation].get("/api/messages", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code == 200


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

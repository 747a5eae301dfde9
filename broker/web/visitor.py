"""The browser session that enters user codes: a signed cookie that says nothing but who is counted together."""

from typing import Final

from itsdangerous import BadSignature
from starlette.requests import Request
from starlette.responses import Response

from broker.models.ids import is_id, new_id
from broker.vault.keyring import Keyring

_MAX_AGE: Final = 600
"""Seconds the cookie lives from the last page on: the window in which wrong codes of a browser are counted."""
_PREFIX: Final = "vis"


class Visitors:
    """Knows a browser again for as long as its tries are counted, and no longer."""

    def __init__(self, keyring: Keyring, *, secure: bool) -> None:
        """
        :param secure: whether browsers reach the broker over https; then the cookie is ``Secure`` and ``__Host-``.
        """
        self._serializer = keyring.serializer("device visitor")
        self._secure = secure
        self._name = "__Host-device" if secure else "device"

    def of(self, request: Request) -> str | None:
        """The browser session, or ``None`` if it has none that we signed within ten minutes."""
        try:
            visitor = str(self._serializer.loads(request.cookies.get(self._name, ""), max_age=_MAX_AGE))
        except BadSignature:
            return None
        return visitor if is_id(_PREFIX, visitor) else None

    def remember(self, response: Response, visitor: str | None) -> None:
        """Let the browser say next time that it is this one; ``None``: a new one."""
        response.set_cookie(
            self._name,
            str(self._serializer.dumps(visitor or new_id(_PREFIX))),
            max_age=_MAX_AGE,
            path="/",
            secure=self._secure,
            httponly=True,
            # Lax and not Strict: people come by a link that their device shows.
            samesite="lax",
        )

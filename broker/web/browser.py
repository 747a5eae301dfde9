"""The browser that takes part: its cookie, and whether a POST comes from our own page."""

from typing import Final

from itsdangerous import BadSignature
from starlette.requests import Request
from starlette.responses import Response

from broker.connections.journey import AWAY
from broker.errors import Forbidden
from broker.vault.keyring import Keyring

_MAX_AGE: Final = AWAY // 1000
"""Seconds the cookie lives: ten minutes, as long as the browser may be away."""
_NAME_LENGTH: Final = 12


class BrowserBinding:
    """Keeps the secret that binds a browser to a connect session in a signed cookie of that browser."""

    def __init__(self, keyring: Keyring, *, secure: bool, origin: str) -> None:
        """
        :param secure: whether browsers reach the broker over https; then the cookie is ``Secure`` and ``__Host-``.
        :param origin: the broker's own origin.
        """
        self._serializer = keyring.serializer("browser binding")
        self._secure = secure
        self._origin = origin

    def secret(self, request: Request, session_id: str) -> str | None:
        """The browser's secret for this session, or ``None`` if it has none that we signed within ten minutes."""
        cookie = request.cookies.get(self._name(session_id))
        if cookie is None:
            return None
        try:
            bound_to, secret = self._serializer.loads(cookie, max_age=_MAX_AGE)
        except (BadSignature, ValueError, TypeError):
            return None
        return str(secret) if bound_to == session_id else None

    def bind(self, response: Response, session_id: str, secret: str, *, seconds: int = _MAX_AGE) -> None:
        """Give the browser its secret, for ``seconds``, but ten minutes at most."""
        response.set_cookie(
            self._name(session_id),
            str(self._serializer.dumps([session_id, secret])),
            max_age=min(seconds, _MAX_AGE),
            path="/",
            secure=self._secure,
            httponly=True,
            # Lax and not Strict: the browser comes back from the provider's site by a link.
            samesite="lax",
        )

    def release(self, response: Response, session_id: str) -> None:
        """Take the cookie back."""
        response.delete_cookie(self._name(session_id), path="/", secure=self._secure, httponly=True, samesite="lax")

    def check_own_form(self, request: Request) -> None:
        """Return if a POST was not sent by another site's page.

        Every browser of the last years sends one of the two headers on a POST; a program that sends neither is not
        a browser somebody could trick.

        :raises Forbidden: it comes from elsewhere.
        """
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if (origin is not None and origin != self._origin) or site not in {None, "same-origin", "none"}:
            raise Forbidden("this form was sent from another site")

    def _name(self, session_id: str) -> str:
        # One cookie per session, so that two connections can be made in one browser at the same time.
        prefix = "__Host-" if self._secure else ""
        return f"{prefix}connect_{session_id.partition('_')[2][:_NAME_LENGTH]}"

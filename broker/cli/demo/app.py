"""Acme Inbox: a small app whose people connect their mailboxes. ``python -m broker.cli.demo.app CONFIG.json``

It keeps a connection's id and nothing else: no password, no token, no secret of the provider.
"""

import json
import secrets
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from broker.cli.demo.exchange import Exchange, Trace, http_client
from broker.cli.demo.pages import STYLE, page
from broker.cli.demo.services import Backend, Refused, Registration, Worker

PEOPLE: Final = {"alice": "Alice", "mallory": "Mallory"}
"""Who can sign in at Acme Inbox: subject → name."""
APP_NAME: Final = "Acme Inbox"
WORKER_NAME: Final = "Acme worker"

_COOKIE: Final = "acme_session"
_READING: Final = "messages.read"
"""The provider's scope without which Acme Inbox has nothing to show."""
_TRY_AGAIN: Final = "Nothing was lost. Go back and try again."


@dataclass(frozen=True, slots=True)
class Config:
    """What the app is told at its start: where everything is, and as whom it talks to the broker."""

    broker_url: str
    provider_url: str
    app_url: str
    backend: Registration
    worker: Registration
    trace: str
    """The file that every exchange with broker and provider is written to."""

    def save(self, path: Path) -> None:
        """Write it down for the app's process."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Config":
        """What :meth:`save` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        backend, worker = (Registration(**values.pop(name)) for name in ("backend", "worker"))
        return cls(**values, backend=backend, worker=worker)


@dataclass(slots=True)
class Account:
    """What Acme knows of one of its people."""

    connection_id: str | None = None
    mailbox: str = ""
    generation: int = 0
    may_read: bool = True
    """A person may allow less than was asked for; the connection stands all the same."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    notice: str = ""
    """Shown once."""


class AcmeInbox:
    """The pages. GET shows; only POST, and the return from the broker, change anything."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._trace = Trace(Path(config.trace))
        self._recent: list[Exchange] = []
        self._sessions: dict[str, str] = {}
        self._accounts = {subject: Account() for subject in PEOPLE}
        places = {config.broker_url: "broker", config.provider_url: "provider"}
        self._http = http_client(APP_NAME, places, self._hear)
        self._backend = Backend(self._http, config.broker_url, config.backend)
        worker_http = http_client(WORKER_NAME, places, self._hear)
        self._worker = Worker(worker_http, config.broker_url, config.worker, provider_url=config.provider_url)

    def starlette(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.home),
                Route("/acme.css", lambda _request: FileResponse(STYLE)),
                Route("/connected", self._signed_in(self.connected)),
                Route("/sign-in/{subject}", self.sign_in, methods=["POST"]),
                Route("/sign-out", self.sign_out, methods=["POST"]),
                Route("/connect", self._signed_in(self.connect), methods=["POST"]),
                Route("/fetch", self._signed_in(self.fetch), methods=["POST"]),
                Route("/expire", self._signed_in(self.expire), methods=["POST"]),
                Route("/disconnect", self._signed_in(self.disconnect), methods=["POST"]),
            ],
            exception_handlers={Refused: self.refused, httpx2.HTTPError: self.unreachable},
        )

    def home(self, request: Request) -> Response:
        """The inbox of whoever is signed in, or the choice of who to be."""
        subject = self._subject(request)
        if subject is None:
            return self._page("sign_in.html", people=PEOPLE)
        account = self._accounts[subject]
        notice, account.notice = account.notice, ""
        return self._page("inbox.html", name=PEOPLE[subject], account=account, notice=notice, recent=self._recent)

    def sign_in(self, request: Request) -> Response:
        """Become one of the people; this app believes everybody."""
        subject = request.path_params["subject"]
        response = RedirectResponse("/", status_code=303)
        if subject in PEOPLE:
            self._recent.clear()
            session = secrets.token_urlsafe(32)
            self._sessions[session] = subject
            response.set_cookie(_COOKIE, session, httponly=True, samesite="lax")
        return response

    def sign_out(self, request: Request) -> Response:
        """Be nobody again."""
        self._sessions.pop(request.cookies.get(_COOKIE, ""), None)
        response = RedirectResponse("/", status_code=303)
        response.delete_cookie(_COOKIE, httponly=True, samesite="lax")
        return response

    def connect(self, subject: str, _request: Request) -> Response:
        """Open a connect session for whoever is signed in, and send the browser to its link.

        Who has a connection renews it: without its id, every attempt would make another one.
        """
        session = self._backend.open_session(
            provider="practice",
            subject=subject,
            subject_name=PEOPLE[subject],
            connection_id=self._accounts[subject].connection_id,
        )
        return RedirectResponse(session["connect_url"], status_code=303)

    def connected(self, subject: str, request: Request) -> Response:
        """The return address. The broker learns who is signed in *here*, not what the link says."""
        answer, account = request.query_params, self._accounts[subject]
        if "completion_code" not in answer:
            account.notice = "Nothing was connected."
            return RedirectResponse("/", status_code=303)
        connection = self._backend.complete(answer["connect_session"], answer["completion_code"], subject=subject)
        account.connection_id = connection["id"]
        account.mailbox = connection["account"]["name"]
        return self._fetch(subject, "Your mailbox is connected.")

    def fetch(self, subject: str, _request: Request) -> Response:
        """Let the worker fetch the messages again."""
        return self._fetch(subject, "Fetched again, with a reference of its own.")

    def expire(self, subject: str, _request: Request) -> Response:
        """Play fate: every access token dies at the provider. Then fetch as if nothing had happened."""
        self._http.post(f"{self._config.provider_url}/control", json={"expire_access_tokens": True})
        return self._fetch(subject, "The token had died; the broker got a new one.")

    def disconnect(self, subject: str, _request: Request) -> Response:
        """End the connection, here and at the provider."""
        account = self._accounts[subject]
        if account.connection_id is not None:
            outcome = self._backend.disconnect(account.connection_id)["upstream"]["outcome"]
            self._accounts[subject] = Account(notice=f"Disconnected. At the provider: {outcome}.")
        return RedirectResponse("/", status_code=303)

    def refused(self, _request: Request, error: Exception) -> Response:
        """The broker, or the provider, said no."""
        mismatch = isinstance(error, Refused) and error.code == "subject_mismatch"
        title = "This link was not made for you" if mismatch else "That did not work"
        text = "Nothing was connected, and nothing was lost." if mismatch else _TRY_AGAIN
        return self._page("problem.html", status=403 if mismatch else 502, title=title, text=text, detail=str(error))

    def unreachable(self, _request: Request, error: Exception) -> Response:
        """Nobody answered."""
        detail = f"Neither broker nor provider may be missing: {type(error).__name__}."
        return self._page("problem.html", status=502, title="Somebody does not answer", text=_TRY_AGAIN, detail=detail)

    def _fetch(self, subject: str, notice: str) -> Response:
        account = self._accounts[subject]
        if account.connection_id is not None:
            try:
                connection = self._backend.connection(account.connection_id)
                account.generation = connection["generation"]
                account.may_read = _READING in connection["scopes"]
                if not account.may_read:
                    account.messages, account.notice = [], ""
                    return RedirectResponse("/", status_code=303)
                reference = self._backend.reference(account.connection_id, audience=self._worker.client_id)
                account.messages = self._worker.messages(reference, generation=account.generation)
                account.notice = notice
            except Refused as error:
                if error.code != "reauth_required":
                    raise
                self._accounts[subject] = Account(notice="The connection was ended. Connect your mailbox again.")
        return RedirectResponse("/", status_code=303)

    def _signed_in(self, view: Callable[[str, Request], Response]) -> Callable[[Request], Response]:
        """``view`` for people who are signed in; the others are sent home."""

        def endpoint(request: Request) -> Response:
            subject = self._subject(request)
            if subject is None:
                return RedirectResponse("/", status_code=303)
            self._recent.clear()
            return view(subject, request)

        return endpoint

    def _subject(self, request: Request) -> str | None:
        return self._sessions.get(request.cookies.get(_COOKIE, ""))

    def _hear(self, exchange: Exchange) -> None:
        self._recent.append(exchange)
        self._trace.write(exchange)

    def _page(self, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        return page(template, forms_go_to=self._config.broker_url, status=status, **values)


def main(path: Path) -> None:
    """Serve until told to end."""
    config = Config.load(path)
    address = urlsplit(config.app_url)
    uvicorn.run(
        AcmeInbox(config).starlette(),
        host=address.hostname or "",
        port=address.port or 0,
        access_log=False,  # completion codes travel in URLs
        log_level="warning",
        lifespan="off",
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

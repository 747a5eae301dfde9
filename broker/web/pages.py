"""The pages people see: templates rendered into answers that carry a strict content security policy.

Everything an app or a provider wrote (names, scopes, error texts) is untrusted: the environment escapes all
of it, the policy allows no script, no inline style and nothing from another origin, and the templates wrap
names in ``<bdi>`` so that right-to-left marks in a name can't reorder the words around it.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

_NOWHERE: Final = "'none'"

# Chromium holds form-action against every redirect that follows the form's POST, not only against its own
# address: the provider, the login hosts it hands over to and, where the provider asks nothing, our callback
# and the app's return address. Those hosts aren't known in advance, hence all of https. Loopback stands here
# for development and for native apps, whose return address is plain http on a port of the moment (RFC 8252
# §7.3), also when the broker itself is served over https. A policy can't name an IPv6 address (CSP 3 §2.3.1),
# so [::1] is not among them.
PROVIDER_AND_BACK: Final = "'self' https: http://localhost:* http://127.0.0.1:*"

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not no-referrer: with it browsers send "Origin: null" on our own forms, and the same-origin check of a
    # POST could no longer tell them from another site's.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _policy(form_action: str) -> str:
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {form_action}"
    )


def _versioned(name: str) -> str:
    content = (files("broker.web") / "static" / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


def _initial(name: str) -> str:
    """The letter that stands for a name in its tile: its first letter or digit."""
    return next((character.upper()[:1] for character in name if character.isalnum()), "·")


stylesheet_href: Final = _versioned("style.css")
"""Where pages find the stylesheet. The address changes with the content, so it may be cached for ever."""

_environment = Environment(
    loader=PackageLoader("broker.web"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["initial"] = _initial
_environment.globals.update(stylesheet_href=stylesheet_href, icon_href=_versioned("icon.svg"))


def rendered(template: str, *, status: int = 200, form_action: str = _NOWHERE, **context: object) -> HTMLResponse:
    """A template as an answer with the headers of every page.

    ``form_action`` is where its form may lead (CSP): nowhere, where it has none.
    """
    html = _environment.get_template(template).render(context)
    headers = {**_HEADERS, "Content-Security-Policy": _policy(form_action)}
    return HTMLResponse(html, status_code=status, headers=headers)


def connect_page(
    *,
    action: str,
    app_name: str,
    provider_name: str,
    subject_name: str | None,
    scopes: Sequence[tuple[str, str | None]],
    reconnect: bool,
    return_host: str | None,
) -> HTMLResponse:
    """The question: may this app connect to the person's account? Says who asks, for whom and for what.

    ``action`` is where the form POSTs ``decision=continue`` or ``decision=cancel``. ``scopes`` are pairs of
    the provider's scope and the sentence that explains it, ``None`` where the provider's entry has none.
    ``reconnect`` says that an existing connection is renewed; ``return_host`` is where the person ends up.
    """
    return rendered(
        "connect.html",
        form_action=PROVIDER_AND_BACK,
        action=action,
        app_name=app_name,
        provider_name=provider_name,
        subject_name=subject_name,
        scopes=scopes,
        reconnect=reconnect,
        return_host=return_host,
    )


def code_page(*, app_name: str, provider_name: str, code: str, expires_in_minutes: int) -> HTMLResponse:
    """The end of completion ``code``: a short code to give back where the person started, nowhere else."""
    return rendered(
        "code.html",
        app_name=app_name,
        provider_name=provider_name,
        code=code,
        expires_in_minutes=expires_in_minutes,
    )


def connected_page(*, app_name: str, provider_name: str, account_name: str | None) -> HTMLResponse:
    """The good end where there is no app to return to; ``account_name`` is its name at the provider."""
    return rendered("connected.html", app_name=app_name, provider_name=provider_name, account_name=account_name)


def done_page(*, app_name: str, provider_name: str) -> HTMLResponse:
    """What the page with the code turns into once the code was taken."""
    return rendered("done.html", app_name=app_name, provider_name=provider_name)


def cancelled_page(*, app_name: str, provider_name: str) -> HTMLResponse:
    """The end after the person said no, here or at the provider, and there is no app to return to."""
    return rendered("cancelled.html", app_name=app_name, provider_name=provider_name)


def error_page(*, status: int, title: str, message: str, hint: str | None, request_id: str) -> HTMLResponse:
    """The end where it can't go on: what happened, what to do next (``hint``), the id to mention."""
    return rendered("error.html", status=status, title=title, message=message, hint=hint, request_id=request_id)

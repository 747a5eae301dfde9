"""The pages a person sees here, rendered from ``templates/`` with everything escaped."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from broker.sandbox.errors import NO_STORE

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
)
# No form-action: browsers hold the redirect after the form to it too, and that one leaves for the app.
_HEADERS = {
    **NO_STORE,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageError(Exception):
    """A fault that is shown to the person and never redirected (RFC 6749 §4.1.2.1)."""

    def __init__(self, title: str, explanation: str) -> None:
        super().__init__(title)
        self.title = title
        self.explanation = explanation


def page(template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """The page made of ``template``; no scripts, no frames, nothing loaded from anywhere."""
    text = _TEMPLATES.get_template(template).render(values)
    return HTMLResponse(text, status_code=status, headers=_HEADERS)


def error_page(error: PageError) -> HTMLResponse:
    """The page that says what is wrong, status 400."""
    return page("message.html", status=400, title=error.title, explanation=error.explanation)

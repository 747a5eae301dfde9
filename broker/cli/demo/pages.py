"""How Acme Inbox's pages are made, and what a browser may do with them."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from broker.cli.demo.exchange import brief

_HERE: Final = Path(__file__).parent
STYLE: Final = _HERE / "acme.css"
"""The style sheet of all pages."""

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_TEMPLATES.filters["brief"] = brief
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def page(template: str, *, forms_go_to: str, status: int = 200, **values: object) -> HTMLResponse:
    """A page that runs no script and can't be framed.

    :param forms_go_to: the one origin, beside the app's own, that a form may end at.
    """
    # Chromium holds form-action against redirects, too: "Connect" ends at the broker.
    policy = f"default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {forms_go_to}"
    text = _TEMPLATES.get_template(template).render(values)
    headers = {**_HEADERS, "Content-Security-Policy": f"{policy}; frame-ancestors 'none'; base-uri 'none'"}
    return HTMLResponse(text, status_code=status, headers=headers)

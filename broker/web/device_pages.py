"""The pages of a machine's login; what holds for every page stands in :mod:`broker.web.pages`."""

from collections.abc import Sequence

from starlette.responses import HTMLResponse

from broker.web.moments import Moment
from broker.web.pages import PROVIDER_AND_BACK, rendered

_OURSELVES = "'self'"


def code_form_page(*, action: str, wrong_code: str | None = None) -> HTMLResponse:
    """The form for the code. With ``wrong_code``, what was entered and led to no machine: the same form, and 400."""
    return rendered(
        "device_code.html",
        status=200 if wrong_code is None else 400,
        form_action=_OURSELVES,
        action=action,
        wrong_code=wrong_code,
    )


def question_page(
    *,
    action: str,
    code: str,
    app_name: str,
    provider_name: str,
    device_name: str | None,
    address: str,
    asked: Moment,
    scopes: Sequence[tuple[str, str | None]],
    by_form: bool,
) -> HTMLResponse:
    """The question: may this machine use the person's account? Says who asks, from where, when and for what.

    :param action: where the form POSTs ``user_code`` with ``decision=approve`` or ``decision=decline``.
    :param code: shown to be compared with the machine's screen.
    :param device_name: what the machine calls itself, which anybody can.
    :param scopes: pairs of the provider's scope and the sentence that explains it, if there is one.
    :param by_form: the next page is our own, where a credential is handed in.
    """
    return rendered(
        "device_question.html",
        form_action=PROVIDER_AND_BACK,
        action=action,
        code=code,
        app_name=app_name,
        provider_name=provider_name,
        device_name=device_name,
        address=address,
        asked=asked,
        scopes=scopes,
        by_form=by_form,
    )


def approved_page(
    *, app_name: str, provider_name: str, device_name: str | None, account_name: str | None, manage_path: str
) -> HTMLResponse:
    """The good end: back to the machine. ``manage_path`` leads to the person's own page about this login."""
    return rendered(
        "device_approved.html",
        app_name=app_name,
        provider_name=provider_name,
        device_name=device_name,
        account_name=account_name,
        manage_path=manage_path,
    )


def declined_page(*, app_name: str, provider_name: str) -> HTMLResponse:
    """The end after a no, here or at the provider."""
    return rendered("device_declined.html", app_name=app_name, provider_name=provider_name)


def login_page(
    *,
    action: str,
    app_name: str,
    provider_name: str,
    account_name: str | None,
    device_name: str | None,
    address: str,
    since: Moment,
    last_used: Moment,
) -> HTMLResponse:
    """A machine that is logged in, and the button that ends it. ``action`` is where its form POSTs."""
    return rendered(
        "device_login.html",
        form_action=_OURSELVES,
        action=action,
        app_name=app_name,
        provider_name=provider_name,
        account_name=account_name,
        device_name=device_name,
        address=address,
        since=since,
        last_used=last_used,
    )


def uncollected_page(*, action: str) -> HTMLResponse:
    """Where :func:`login_page` will be, once the machine has noticed that it was approved."""
    return rendered("device_uncollected.html", form_action=_OURSELVES, action=action)


def logged_out_page() -> HTMLResponse:
    """The end of a machine's login."""
    return rendered("device_logged_out.html")

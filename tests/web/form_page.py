"""The form of a connect link as a function of its texts, for tests of what pages contain."""

from collections.abc import Sequence

from starlette.responses import HTMLResponse

from broker.errors import FieldFault
from broker.models.session import Completion, ConnectSession
from broker.providers.schema import Provider
from broker.vault.typed import Typed
from broker.web.form_pages import Problem, form_page


def rendered_form(
    *,
    action: str,
    app_name: str,
    provider_name: str,
    subject_name: str | None,
    return_host: str | None,
    label: str,
    words: str,
    where: str,
    scopes: Sequence[tuple[str, str | None]] = (),
    completion: Completion = Completion.APP,
    device_name: str | None = None,
    reconnect: bool = False,
    typed: str | None = None,
    fault: str = "",
    title: str = "",
    text: str = "",
    url: str | None = None,
) -> HTMLResponse:
    """The page of a provider that takes a name, a secret, and a secret of several lines.

    ``typed``: stands in all fields of a form that comes again; ``None``: it is shown for the first time.
    """
    session = ConnectSession(
        id="cs_1",
        tenant="default",
        client_id="cl_1",
        client_name=app_name,
        provider="mail",
        subject="ada",
        completion=completion,
        scopes=tuple(scope for scope, _ in scopes),
        created_at=0,
        expires_at=1,
        subject_name=subject_name,
        label=device_name,
        reconnect=reconnect,
    )
    return form_page(
        action=action,
        session=session,
        provider=provider_with(provider_name, label, words, where, url, scopes),
        typed=Typed({} if typed is None else dict.fromkeys(("name", "secret", "key"), typed), {}),
        return_host=return_host,
        problem=None if typed is None else Problem(422, title, text, scopes, [FieldFault("credentials.name", fault)]),
    )


def provider_with(
    name: str, label: str, words: str, where: str, url: str | None, scopes: Sequence[tuple[str, str | None]]
) -> Provider:
    """A provider that takes a name, a secret, and a secret of several lines."""
    return Provider.model_validate(
        {
            "name": "mail",
            "display_name": name,
            "type": "custom",
            "fields": {
                "name": {"label": label, "secret": False, "help": words},
                "secret": {"label": "Secret"},
                "key": {"label": "Key", "multiline": True, "optional": True},
            },
            "headers": {"X-Name": "{name}"},
            "credential_help": {"text": where, "url": url},
            "scopes": {scope: sentence for scope, sentence in scopes if sentence},
        }
    )

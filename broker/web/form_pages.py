"""The page on which a person hands a credential in; what holds for every page stands in :mod:`broker.web.pages`.

What a person typed comes back into the page where it was wrong, so that nobody types it twice, but nothing of a field
that is secret ever does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.responses import HTMLResponse

from broker.errors import FieldFault
from broker.models.session import Completion, ConnectSession
from broker.providers import Provider
from broker.providers.schema import placeholders
from broker.upstream.parameters import fill
from broker.vault.typed import Typed
from broker.web.pages import PROVIDER_AND_BACK, rendered

CREDENTIALS: Final = "credentials"
PARAMETERS: Final = "parameters"
"""What the names of inputs begin with, and those of fields in errors."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something that is asked for."""

    name: str
    label: str
    help: str | None
    secret: bool
    multiline: bool
    optional: bool
    value: str
    """Empty where it is secret."""
    fault: str | None
    """What is wrong with what was typed."""
    focused: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the page is shown again."""

    status: int
    title: str
    text: str
    missing: Sequence[tuple[str, str | None]] = ()
    """Scopes that the credential lacks."""
    faults: Sequence[FieldFault] = ()


def form_page(
    *,
    action: str,
    session: ConnectSession,
    provider: Provider,
    typed: Typed,
    return_host: str | None,
    problem: Problem | None = None,
) -> HTMLResponse:
    """The form: says who asks, for whom, where to find what is asked for; with ``problem``, what was wrong with it."""
    asked = inputs_of(session, provider, typed, problem)
    return rendered(
        "connect_form.html",
        status=problem.status if problem else 200,
        form_action=PROVIDER_AND_BACK,
        action=action,
        app_name=session.client_name,
        provider_name=provider.display_name,
        subject_name=session.subject_name,
        for_device=session.completion is Completion.DEVICE,
        device_name=session.label if session.completion is Completion.DEVICE else None,
        scopes=[(scope, provider.scopes.get(scope)) for scope in session.scopes],
        reconnect=session.reconnect,
        return_host=return_host,
        # Whose instance it is that gets what is typed: the person goes nowhere else where they would see it.
        fixed=[
            (rule.label, session.parameters[name])
            for name, rule in provider.parameters.items()
            if name in session.parameters
        ],
        inputs=asked,
        is_checked=provider.identity is not None or provider.kind.issues,
        any_secret=any(asks.secret for asks in asked),
        help_text=provider.credential_help.text if provider.credential_help else None,
        help_url=_help_url(provider, session),
        problem=problem,
    )


def inputs_of(session: ConnectSession, provider: Provider, typed: Typed, problem: Problem | None) -> list[Input]:
    """What is asked for: the connection's parameters that the app left open, then the parts of the credential."""
    faults = _placed(problem.faults if problem else (), provider)
    inputs = []
    for name, rule in provider.parameters.items():
        if name not in session.parameters:
            value = typed.parameters.get(name, rule.default or "")
            inputs.append(_input(PARAMETERS, name, rule.label, faults, value=value))
    for name, part in provider.form_fields.items():
        inputs.append(
            _input(
                CREDENTIALS,
                name,
                part.label,
                faults,
                help_=part.help,
                secret=part.secret,
                multiline=part.multiline,
                optional=part.optional,
                value="" if part.secret else typed.credentials.get(name, ""),
            )
        )
    return inputs if problem is None else _with_focus(inputs)


def _placed(faults: Sequence[FieldFault], provider: Provider) -> dict[str, str]:
    """The faults by the inputs at which they are shown: what is wrong within a file is wrong with the file."""
    placed = {}
    for fault in faults:
        group, _, name = fault.field.partition(".")
        if group == CREDENTIALS and name not in provider.form_fields and provider.kind.document is not None:
            placed[f"{CREDENTIALS}.{provider.kind.document.field}"] = f"is not complete: its {name} {fault.message}"
        else:
            placed[fault.field] = fault.message
    return placed


def _input(
    group: str,
    name: str,
    label: str,
    faults: Mapping[str, str],
    *,
    help_: str | None = None,
    secret: bool = False,
    multiline: bool = False,
    optional: bool = False,
    value: str = "",
) -> Input:
    field = f"{group}.{name}"
    fault = _in_words(label, faults[field]) if field in faults else None
    return Input(field, label, help_, secret, multiline, optional, value, fault)


def _with_focus(inputs: list[Input]) -> list[Input]:
    """The first that is wrong gets the focus; where none is, the first that has to be typed again."""
    wrong = [at for at, asks in enumerate(inputs) if asks.fault] or [
        at for at, asks in enumerate(inputs) if asks.secret and not asks.optional
    ]
    return [replace(asks, focused=at in wrong[:1]) for at, asks in enumerate(inputs)]


def _in_words(label: str, fault: str) -> str:
    """A fault for the person who typed it: they know the field by its label, read no regular expressions, and have
    the help under it anyway."""
    if fault == "required":
        return f"{label} is needed."
    if fault.startswith(("must match", "may hold", "does not look like one")):
        return f"{label} does not look right. Check that you copied all of it, and nothing else."
    return f"{label} {fault}."


def _help_url(provider: Provider, session: ConnectSession) -> str | None:
    """The provider's page where the credential is made; ``None`` where that depends on what is not known yet."""
    url = provider.credential_help.url if provider.credential_help else None
    if url is None or not set(placeholders(url)) <= session.parameters.keys():
        return None
    return fill(url, session.parameters)

"""What ``broker providers check`` finds, asks and shows: is a provider usable, what is missing, what is to be known."""

import asyncio
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel, Field

from broker.cli.output import print_table, printable
from broker.clock import system_clock
from broker.errors import BrokerError, ProviderUnavailable
from broker.providers import Provider
from broker.providers.lint import Finding, Level, lint, lint_file
from broker.providers.written import Written
from broker.settings import Settings
from broker.upstream.egress import Egress
from broker.upstream.facade import Upstream

_LABEL: Final = 16
_WITHOUT_TERMINAL: Final = 10_000


class Found(BaseModel):
    """Something about an entry, or about the file. ``level``: a ``problem`` has to be mended, a ``note`` may be so."""

    key: str
    level: Level
    message: str

    @classmethod
    def of(cls, finding: Finding) -> "Found":
        """The finding as it is shown."""
        return cls(key=finding.key, level=finding.level, message=finding.message)


class Unverified(BaseModel):
    """A value of the entry that no documentation confirmed. ``note``: what is known of it."""

    key: str
    note: str | None


class CheckedProvider(BaseModel):
    """Whether a provider can be used now. ``problem``: why not, in a sentence. ``missing``: what has to be set.
    ``next``: how to get it, in a sentence. ``extends``: the entry that this one takes over what it doesn't say.
    ``redirect_uri``: what to register there, if people connect by going there. ``documentation``: where the provider
    says how."""

    name: str
    usable: bool
    problem: str | None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    type: str | None = None
    documentation: str | None = None
    missing: list[str] = []
    next: str | None = None
    extends: str | None = None
    redirect_uri: str | None = None
    findings: list[Found] = []
    unverified: list[Unverified] = []
    to_be_mended: bool = Field(default=False, exclude=True)
    """Whether waiting won't help: the provider could be asked, and what it answered can't be used."""

    @property
    def problems(self) -> list[Found]:
        """The findings that have to be mended."""
        return [finding for finding in self.findings if finding.level == "problem"]


class CheckedProviders(BaseModel):
    """All providers that were checked. ``findings``: about the file itself."""

    items: list[CheckedProvider]
    findings: list[Found]


def lacks(provider: Provider) -> str | None:
    """What has to be set before ``provider`` can be used; ``None``: nothing."""
    return None if provider.ready else f"lacks {', '.join(provider.missing_variables or provider.missing)}"


async def ask_issuers(settings: Settings, providers: Sequence[Provider]) -> list[CheckedProvider]:
    """Check each provider, in their order; each issuer is asked within its provider's own timeout."""
    async with Upstream(Egress(allow=settings.egress_allow), system_clock) as upstream:
        return list(await asyncio.gather(*(_check_one(upstream, provider) for provider in providers)))


def with_findings(
    checked: CheckedProvider, provider: Provider, written: Written, settings: Settings
) -> CheckedProvider:
    """``checked``, and what can be said without asking anybody."""
    registers = provider.connects_by == "redirect"
    return checked.model_copy(
        update={
            "type": provider.type,
            "documentation": provider.documentation,
            "missing": list(provider.missing),
            "next": _what_follows(provider),
            "extends": written.bases.get(provider.name),
            "redirect_uri": provider.redirect_uri(settings.public_url) if registers else None,
            "findings": [Found.of(finding) for finding in lint(provider, written)],
            "unverified": [Unverified(key=mark.key, note=mark.note) for mark in written.unverified(provider.name)],
        }
    )


def _what_follows(provider: Provider) -> str | None:
    """What the operator does about variables that are not set."""
    names = provider.missing_variables
    if not names:
        return None
    first = "register an app there with that redirect URI, then " if provider.connects_by == "redirect" else ""
    return (
        f"{first}set {', '.join(names)} in the environment or in .env (NAME_FILE names a file), and restart the broker"
    )


def of_the_file(written: Written) -> list[Found]:
    """What is to be said of the file itself."""
    return [Found.of(finding) for finding in lint_file(written)]


def print_overview(checked: Sequence[CheckedProvider]) -> None:
    """A line for each, and what has to be mended."""
    rows = [
        (
            found.name,
            "usable" if found.usable else found.problem,
            str(len(found.unverified) or "-"),
            str(len(found.findings) - len(found.problems) or "-"),
        )
        for found in checked
    ]
    print_table(["PROVIDER", "STATE", "UNVERIFIED", "NOTES"], rows)
    problems = [(found.name, problem) for found in checked for problem in found.problems]
    if problems:
        print()
    for name, problem in problems:
        _print_line("problem", f"{name}: {problem.key}: {problem.message}")


def print_details(checked: Iterable[CheckedProvider]) -> None:
    """All that is known of each."""
    for position, found in enumerate(checked):
        if position:
            print()
        print(printable(f"{found.name}: {'usable' if found.usable else found.problem}"))
        lines = [
            ("type", found.type),
            ("extends", found.extends),
            ("documentation", found.documentation),
            ("redirect URI", found.redirect_uri),
            ("authorization", found.authorization_endpoint),
            ("token", found.token_endpoint),
            ("next", found.next),
            *((finding.level, f"{finding.key}: {finding.message}") for finding in found.findings),
            *(("unverified", f"{mark.key}{f': {mark.note}' if mark.note else ''}") for mark in found.unverified),
        ]
        for label, text in lines:
            if text is not None:
                _print_line(f"  {label}", text)


def print_file_findings(findings: Iterable[Found]) -> None:
    """What is to be mended in the file, a line each."""
    for finding in findings:
        _print_line(finding.level, finding.message)


def _print_line(label: str, text: str) -> None:
    """A label and its text, which goes on below itself where a terminal is too narrow; addresses are never broken."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WITHOUT_TERMINAL
    wrapped = textwrap.wrap(printable(text), max(width - _LABEL, 20), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(wrapped or [""]):
        print(f"{'' if number else label:{_LABEL}}{line}")


async def _check_one(upstream: Upstream, provider: Provider) -> CheckedProvider:
    if not provider.ready:
        return CheckedProvider(name=provider.name, usable=False, problem=lacks(provider))
    defaults = {name: rule.default for name, rule in provider.parameters.items() if rule.default is not None}
    if len(defaults) < len(provider.parameters):
        # Each connection says where it is; here is none.
        return CheckedProvider(name=provider.name, usable=True, problem=None)
    try:
        endpoints = await upstream.endpoints(provider, defaults)
    except BrokerError as error:
        return CheckedProvider(
            name=provider.name,
            usable=False,
            problem=error.detail,
            to_be_mended=not isinstance(error, ProviderUnavailable),
        )
    return CheckedProvider(
        name=provider.name,
        usable=True,
        problem=None,
        authorization_endpoint=endpoints.authorization,
        token_endpoint=endpoints.token.url if endpoints.token else None,
    )

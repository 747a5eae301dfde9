"""What an operator should know about an entry that loads: what can't work as it is meant, and what won't be possible.

A ``problem`` has to be mended; a ``note`` may be as the operator wants it. Pure: it looks at entries and at how they
are written, and asks nobody.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from broker.providers.document import Node
from broker.providers.fields import placeholders
from broker.providers.programs import may_be_set
from broker.providers.schema import Provider
from broker.providers.written import Written, at

Level = Literal["problem", "note"]

_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
_SECRETS: Final = ("client_secret", "private_key")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an entry. ``provider``: empty where it is about the file. ``key``: as in the file, with dots."""

    provider: str
    key: str
    level: Level
    message: str


Found = Iterator[tuple[str, Level, str]]
"""Key, level and message."""


def lint(provider: Provider, written: Written) -> tuple[Finding, ...]:
    """What is to be said of ``provider``, problems first.

    :param written: the file that it stands in.
    """
    entry = written.entries[provider.name]
    # A section whose variables are not set is missing from the provider, and yet it is said.
    said = frozenset(entry.value if isinstance(entry.value, dict) else ())
    found = [Finding(provider.name, *each) for look in _LOOKS for each in look(provider, said)]
    found += [Finding(provider.name, *each) for each in _secrets(entry)]
    return tuple(sorted(found, key=lambda finding: finding.level != "problem"))


def lint_file(written: Written) -> tuple[Finding, ...]:
    """What is to be said of the file as a whole."""
    message = (
        "line {}: the comment marks nothing; mark it as # unverified, or as # unverified: why, behind a key and value"
    )
    return tuple(Finding("", "", "problem", message.format(line)) for line in written.stray)


def _scopes(provider: Provider, _said: frozenset[str]) -> Found:
    for scope, sentence in provider.scopes.items():
        key, words = f"scopes.{scope}", sentence.split()
        if len(words) < 2 or sentence.strip() == scope:
            yield key, "problem", "needs a sentence: what the app may do, in the words of the person who is asked"
        elif not sentence.strip()[0].isupper():
            yield key, "note", "begins with a small letter; people read it as a line of its own"
    if provider.default_scopes and not provider.scopes and provider.type == "oauth2":
        yield "scopes", "note", "default_scopes asks for scopes that nothing explains to the person who is asked"


def _documentation(provider: Provider, said: frozenset[str]) -> Found:
    if "documentation" not in said:
        yield "documentation", "note", "no link to where the provider says how to register an app or make a key"
    asks = provider.connects_by == "form" and provider.credential_fields
    if asks and "credential_help" not in said:
        yield "credential_help", "note", "the form doesn't say where a person finds what it asks for"


def _identity(provider: Provider, said: frozenset[str]) -> Found:
    if "identity" in said or provider.type == "none":
        return
    if provider.type == "oauth2" and "issuer" in said:
        if "openid" not in provider.default_scopes:
            yield "identity", "note", "whose account it is, is known only to connections with the scope openid"
    elif provider.kind.issues:
        yield "identity", "note", "whose account it is stays unknown; that a token is issued is the live test"
    else:
        yield "identity", "note", "no live test: whose account it is, and whether the credential works, stays unknown"


def _oauth(provider: Provider, said: frozenset[str]) -> Found:
    if provider.type != "oauth2" or "authorization_code" not in provider.grant_types:
        return
    if said.isdisjoint({"revocation", "issuer"}):
        yield "revocation", "note", "disconnecting can't take tokens back: the provider keeps them until they end"
    if "refresh_token" in provider.grant_types and provider.refresh.rotation == "unknown":
        yield (
            "refresh.rotation",
            "note",
            "not said; handled as revoke_on_reuse, so a lost answer waits for the token's end",
        )
    if provider.code_challenge_method == "none":
        yield "code_challenge_method", "note", "PKCE is switched off: only state and the secret protect the code"


def _device(provider: Provider, said: frozenset[str]) -> Found:
    if provider.device.mode == "native" and said.isdisjoint({"device_authorization_endpoint", "issuer"}):
        yield "device.mode", "problem", "native needs a device_authorization_endpoint, or an issuer to discover it from"
    for position, scope in enumerate(provider.device.scope_allowlist or (), start=1):
        if provider.scopes and scope not in provider.scopes:
            yield "device.scope_allowlist", "problem", f"item {position} is not among scopes"


def _api(provider: Provider, said: frozenset[str]) -> Found:
    if "api" not in said:
        yield "api.base_url", "note", "missing: no proxy and no request authorization, tokens only"
        if not provider.hands_out_tokens:
            yield "api", "problem", "its tokens stay inside and there is no API to call for it: it can't be used at all"


def _programs(provider: Provider, _said: frozenset[str]) -> Found:
    for variable, template in provider.env.items():
        key = f"env.{variable}"
        if not may_be_set(variable):
            yield (
                key,
                "problem",
                "no program may be given this: it is no variable's name, or decides what a program runs",
            )
        if placeholders(template) != {"access_token"}:
            yield key, "problem", "must be a template over {access_token}, and nothing else"
    if not provider.hands_out_tokens:
        for key in ("env", "git"):
            if getattr(provider, key):
                yield key, "problem", "its tokens never leave the broker, so programs get none"
    if provider.git is not None:
        for position, host in enumerate(provider.git.hosts, start=1):
            if not _HOST.fullmatch(host):
                yield "git.hosts", "problem", f"item {position} must be a host, without scheme and path"


def _secrets(entry: Node) -> Found:
    """Whoever may read the file knows them; and files are copied, mailed and committed."""
    for key in _SECRETS:
        node = at(entry, key)
        if node is not None and isinstance(node.value, str) and "${" not in node.value:
            yield key, "note", "is written into the file; ${VARIABLE} keeps it out"


_LOOKS: Final[tuple[Callable[[Provider, frozenset[str]], Found], ...]] = (
    _scopes,
    _documentation,
    _identity,
    _oauth,
    _device,
    _api,
    _programs,
)

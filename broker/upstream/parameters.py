"""What a connection says about itself (a subdomain, a tenant), put into the operator's addresses."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from broker.errors import FieldFault, InvalidRequest
from broker.providers.schema import Provider, placeholders

_MAX_LENGTH = 253
_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._~-]*[A-Za-z0-9_~])?")


def check_parameters(provider: Provider, parameters: Mapping[str, str], *, all_of_them: bool = True) -> dict[str, str]:
    """The values of all parameters of ``provider``, defaults included.

    Besides the entry's own pattern, a value is letters, digits, ``.``, ``_``, ``~`` and ``-`` only: whatever
    the pattern lets through, nothing that could end a host name or a path segment, or start a port or a
    query.

    ``all_of_them=False``: of those that are given; the person will be asked for the rest.

    :raises InvalidRequest: a parameter is unknown, missing or malformed; each is named.
    """
    faults = [FieldFault(f"parameters.{name}", "unknown") for name in parameters if name not in provider.parameters]
    values: dict[str, str] = {}
    for name, rule in provider.parameters.items():
        if not all_of_them and name not in parameters:
            continue
        value = parameters.get(name, rule.default)
        if value is None:
            faults.append(FieldFault(f"parameters.{name}", "required"))
        elif len(value) > _MAX_LENGTH or not _VALUE.fullmatch(value) or ".." in value:
            faults.append(FieldFault(f"parameters.{name}", "may hold letters, digits, '.', '_', '~' and '-'"))
        elif not re.fullmatch(rule.pattern, value):
            faults.append(FieldFault(f"parameters.{name}", f"must match {rule.pattern}"))
        else:
            values[name] = value
    if faults:
        raise InvalidRequest("parameters are wrong: " + ", ".join(fault.field for fault in faults), faults)
    return values


def fill(template: str, values: Mapping[str, str]) -> str:
    """``template`` with each ``{name}`` replaced by its value, percent-encoded."""
    for name in placeholders(template):
        template = template.replace(f"{{{name}}}", quote(values[name], safe=""))
    return template


def host_is_fixed(template: str) -> bool:
    """Whether the operator wrote the whole host of ``template``, so that no value moves it elsewhere.

    A host of which a user supplies any part counts as user-supplied, also ``{subdomain}.example.com``:
    whoever owns a name under that domain may let it point anywhere, and for a public provider the guard
    refuses nothing.
    """
    return not placeholders(_authority(template))


def _authority(template: str) -> str:
    return re.split(r"[/?#]", template.partition("://")[2], maxsplit=1)[0]


def choosing_hosts(provider: Provider, names: Iterable[str]) -> list[str]:
    """Those among the parameters ``names`` that stand in the host of an address which is called for ``provider``: with
    them goes the choice of who is sent the app's secret, its tokens, and what people hand in."""
    addresses = (
        provider.issuer,
        provider.authorization_endpoint,
        provider.token_endpoint,
        provider.device_authorization_endpoint,
        provider.identity and provider.identity.url,
        provider.revocation and provider.revocation.endpoint,
        provider.api and provider.api.base_url,
    )
    chosen = {name for address in addresses if address for name in placeholders(_authority(address))}
    return sorted(chosen & set(names))


def check_scopes(provider: Provider, scopes: Iterable[str]) -> None:
    """Return if each of ``scopes`` can stand in a request to ``provider`` (RFC 6749 §3.3).

    :raises InvalidRequest: one holds what no scope holds, or two scopes in one.
    """
    # Printable ASCII without space, quote and backslash; nor may one scope hold two.
    forbidden = set(' "\\') | {provider.scope_separator}
    for scope in scopes:
        if not scope or not scope.isascii() or not scope.isprintable() or forbidden & set(scope):
            fault = FieldFault("scopes", "a scope is printable ASCII without space, quote, backslash or separator")
            raise InvalidRequest("a scope is malformed", [fault])

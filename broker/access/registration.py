"""What a client may be registered with: every fault at once, each under the field that it is about.

A client proves itself with a secret that is made for it, or with what is given here instead: keys of its own (in place,
or an address where they are published), or the platform tokens that stand for it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from broker.access.allow import ENTRIES_AT_MOST, parse_entry
from broker.access.key_rules import check_jwks
from broker.errors import AddressRefused, FieldFault, InvalidRequest
from broker.models.access import CLIENT_SCOPES, Client, Workload, fault_of_tenant
from broker.upstream.address_guard import parse_address

WORKLOADS_AT_MOST: Final = 20

_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME_LENGTH: Final = 100
_ADDRESS_LENGTH: Final = 2_048
_SUBJECT_LENGTH: Final = 1_024
_PRINTABLE_ASCII: Final = frozenset(map(chr, range(0x21, 0x7F)))
_PROVEN_IN_TWO_WAYS: Final = "jwks and jwks_uri exclude each other: the keys are either here or there"


def checked(client: Client, known_providers: Collection[str] | None) -> Client:
    """``client`` with its keys reduced to what means something here.

    :param known_providers: what the client's providers are checked against; ``None`` = not checked.
    :raises InvalidRequest: naming every field that is wrong.
    """
    faults = [
        *_text_faults("name", client.name, _NAME_LENGTH),
        *_tenant_faults(client.tenant),
        *_scope_faults(client.scopes),
        *(fault for url in client.return_urls for fault in _return_url_faults(url)),
        *_provider_faults(client.providers or (), known_providers),
        *_allow_faults(client.allow),
    ]
    if set(client.completions) - {"browser"}:
        faults.append(FieldFault("completion", "only 'browser' has to be registered"))
    if client.jwks is not None and client.jwks_uri is not None:
        faults.append(FieldFault("jwks_uri", _PROVEN_IN_TWO_WAYS))
    if client.jwks_uri is not None:
        faults += _address_faults("jwks_uri", client.jwks_uri)
    if client.public and client.authentication != ("none",):
        faults.append(FieldFault("public", "a client that proves itself, with keys or by its platform, is not public"))
    jwks, key_faults = checked_keys(client.jwks, "jwks")
    workloads, workload_faults = _checked_workloads(client.workloads)
    faults += key_faults + workload_faults
    if faults:
        raise InvalidRequest("the client can't be registered", faults)
    return replace(client, jwks=jwks, workloads=workloads)


def checked_keys(jwks: Mapping[str, Any] | None, field: str) -> tuple[dict[str, Any] | None, list[FieldFault]]:
    """The keys as they are stored, and what is wrong with them."""
    if jwks is None:
        return None, []
    try:
        return check_jwks(jwks, field), []
    except InvalidRequest as error:
        return None, list(error.faults)


def _checked_workloads(workloads: Sequence[Workload]) -> tuple[tuple[Workload, ...], list[FieldFault]]:
    faults: list[FieldFault] = []
    if len(workloads) > WORKLOADS_AT_MOST:
        faults.append(FieldFault("workloads", f"at most {WORKLOADS_AT_MOST}"))
    names = [(workload.issuer, workload.subject, workload.audience) for workload in workloads]
    if len(set(names)) != len(names):
        faults.append(FieldFault("workloads", "two of them are the same"))
    found = []
    for index, workload in enumerate(workloads):
        field = f"workloads.{index}"
        faults += _issuer_faults(f"{field}.issuer", workload.issuer)
        faults += _text_faults(f"{field}.subject", workload.subject, _SUBJECT_LENGTH)
        faults += _text_faults(f"{field}.audience", workload.audience, _SUBJECT_LENGTH)
        jwks, key_faults = checked_keys(workload.jwks, f"{field}.jwks")
        faults += key_faults
        found.append(replace(workload, jwks=jwks))
    return tuple(found), faults


def _address_faults(field: str, address: str) -> list[FieldFault]:
    if len(address) > _ADDRESS_LENGTH:
        return [FieldFault(field, f"at most {_ADDRESS_LENGTH} characters")]
    try:
        parse_address(address)
    except AddressRefused as error:
        return [FieldFault(field, error.detail)]
    return []


def _issuer_faults(field: str, issuer: str) -> list[FieldFault]:
    """As an address; and its metadata's address is made by adding to it, so that a query has no place (RFC 8414 §2)."""
    if "?" in issuer or "#" in issuer:
        return [FieldFault(field, "an issuer has no query and no fragment")]
    return _address_faults(field, issuer)


def _text_faults(field: str, value: str, longest: int) -> list[FieldFault]:
    if 0 < len(value) <= longest and value.isprintable() and value.strip() == value:
        return []
    return [FieldFault(field, f"1 to {longest} printable characters, no space at either end")]


def _tenant_faults(tenant: str) -> list[FieldFault]:
    fault = fault_of_tenant(tenant)
    return [] if fault is None else [FieldFault("tenant", fault)]


def _scope_faults(scopes: Collection[str]) -> list[FieldFault]:
    unknown = sorted(set(scopes) - set(CLIENT_SCOPES))
    faults = [FieldFault("scope", f"{scope!r} is none of {', '.join(CLIENT_SCOPES)}") for scope in unknown]
    return faults if scopes else [FieldFault("scope", "at least one is needed")]


def _provider_faults(providers: Collection[str], known: Collection[str] | None) -> list[FieldFault]:
    unknown = set() if known is None else set(providers) - set(known)
    return [FieldFault("provider", f"{provider!r} is not in the providers file") for provider in sorted(unknown)]


def _allow_faults(allow: Sequence[str] | None) -> list[FieldFault]:
    if allow is None:
        return []
    if not 0 < len(allow) <= ENTRIES_AT_MOST:
        return [FieldFault("allow", f"1 to {ENTRIES_AT_MOST} entries; without a list every request is allowed")]
    faults = []
    for index, entry in enumerate(allow):
        try:
            parse_entry(entry)
        except ValueError as error:
            faults.append(FieldFault(f"allow.{index}", str(error)))
    return faults


def _return_url_faults(url: str) -> list[FieldFault]:
    def fault(message: str) -> list[FieldFault]:
        return [FieldFault("return_url", message)]

    if not url or set(url) - _PRINTABLE_ASCII or "\\" in url:
        return fault("an absolute https address in printable ASCII is needed")
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return fault("not an address")
    if not parts.hostname or not port_is_fine or "@" in parts.netloc or "#" in url:
        return fault("an absolute address without user and fragment is needed")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS):
        return fault("https is needed (plain http only on loopback)")
    return []

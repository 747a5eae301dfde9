"""Where sealed secrets lie in the store, for whoever has to find all of them.

A kind of place is one entry of :data:`KINDS`: which keys are of that kind, and how the envelopes in one are read
together with what each was sealed for. Whatever else is stored has no secret that can be opened again.
"""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from broker.errors import SealBroken
from broker.vault import names, scripts
from broker.vault.batches import fingerprint_place
from broker.vault.keyring import Keyring, Place, key_of
from broker.vault.record_form import place
from broker.vault.redis.store import Argument, Store


@dataclass(frozen=True, slots=True)
class Sealed:
    """One envelope, where it lies."""

    owner: str
    """The id of the connection, session, device authorization, repeat or import."""
    what: str
    field: str
    """Of the hash; elsewhere empty."""
    head: bytes
    """What is stored before the envelope, in the clear."""
    envelope: bytes
    place: Place | None
    """What it was sealed for; ``None``: what stands around it is damaged."""

    @property
    def kid(self) -> str | None:
        """The key that it says it is sealed with; ``None``: it is no envelope."""
        try:
            return key_of(self.envelope)
        except SealBroken:
            return None

    def rewrapped(self, keyring: Keyring, kid: str) -> bytes:
        """What is to be stored in its place: the same secret under the key ``kid``.

        :raises SealBroken: it can't be opened.
        """
        try:
            if self.place is not None:
                return self.head + keyring.rewrap(self.place, self.envelope, kid)
        except (AttributeError, OverflowError, TypeError):
            # What stands around it is of another type, or beyond all bounds.
            pass
        raise SealBroken(f"what is stored around the {self.what} of {self.owner} is damaged")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of place in the store."""

    name: re.Pattern[str]
    """The names of its keys; the group ``owner`` is the owner's id."""
    shape: Literal["hash", "string", "list"]
    read: Callable[[Store, str, str], Awaitable[list[Sealed]]]
    """Called with the store, the key and the owner."""

    async def replace(self, store: Store, key: str, changes: Sequence[tuple[Sealed, bytes]]) -> int:
        """Store the new values, each unless the old one is gone from its place meanwhile; how many were stored."""
        arguments: list[Argument] = [self.shape]
        for sealed, new in changes:
            arguments += [sealed.field, sealed.head + sealed.envelope, new]
        return int(await store.run(scripts.REWRAP, [key], arguments))


@dataclass(frozen=True, slots=True)
class Holder:
    """A key of the store that may hold envelopes."""

    key: str
    owner: str
    kind: Kind


def holders(keys: Sequence[str]) -> list[Holder]:
    """Those among ``keys`` that hold envelopes."""
    found = ((key, kind, kind.name.fullmatch(key)) for key in dict.fromkeys(keys) for kind in KINDS)
    return [Holder(key, match["owner"], kind) for key, kind, match in found if match]


async def _of_record(store: Store, key: str, owner: str) -> list[Sealed]:
    names_read = ("t", "bt", "p", "g", "gr", "a", "s")
    owned, owed, provider, generation, grant, *envelopes = await store.execute("HMGET", key, *names_read)
    # Of a batch that isn't whole yet: sealed for whose it will be.
    tenant = owed if owned is None else owned
    fields: tuple[tuple[str, Literal["access_token", "secrets"]], ...] = (("a", "access_token"), ("s", "secrets"))

    def place_of(field: Literal["access_token", "secrets"]) -> Place | None:
        try:
            return place(
                tenant.decode(),
                owner,
                provider=provider.decode(),
                grant_id=grant.decode(),
                field=field,
                generation=int(generation),
            )
        except (ValueError, AttributeError, TypeError):
            return None

    return [
        Sealed(owner, what, field, b"", envelope, place_of(what))
        for (field, what), envelope in zip(fields, envelopes, strict=True)
        if envelope is not None
    ]


async def _of_queue(store: Store, key: str, owner: str) -> list[Sealed]:
    return await _of_string(store, key, owner, "revocation")


async def _of_form(store: Store, key: str, owner: str) -> list[Sealed]:
    return await _of_string(store, key, owner, "typed")


async def _of_string(store: Store, key: str, owner: str, what: str) -> list[Sealed]:
    stored = await store.execute("GET", key)
    return [] if stored is None else [_below_header(owner, what, stored)]


async def _of_list(store: Store, key: str, owner: str) -> list[Sealed]:
    return [_below_header(owner, "parked", entry) for entry in await store.execute("LRANGE", key, 0, -1)]


async def _of_session(store: Store, key: str, owner: str) -> list[Sealed]:
    fields = ("verifier", "code", "completion_code")
    fixed, *envelopes = await store.execute("HMGET", key, "fixed", *fields)
    try:
        tenant = str(json.loads(fixed)["tenant"])
    except (ValueError, LookupError, TypeError):
        tenant = None
    return [
        Sealed(owner, field, field, b"", envelope, None if tenant is None else Place(tenant, owner, "", field, 0))
        for field, envelope in zip(fields, envelopes, strict=True)
        # A code that was brought to the provider is overwritten with nothing.
        if envelope
    ]


async def _of_device(store: Store, key: str, owner: str) -> list[Sealed]:
    fixed, envelope = await store.execute("HMGET", key, "fixed", "upstream")
    try:
        belongs = Place(str(json.loads(fixed)["tenant"]), owner, "", "upstream", 0)
    except (ValueError, LookupError, TypeError):
        belongs = None
    return [Sealed(owner, "device code", "upstream", b"", envelope, belongs)] if envelope else []


async def _of_repeat(store: Store, key: str, owner: str) -> list[Sealed]:
    tenant, claim, answer = await store.execute("HMGET", key, "t", "c", "a")
    # Without a tenant it matches no place that anything was sealed for.
    whose = (tenant or b"").decode()
    return [
        Sealed(owner, what, field, b"", envelope, Place(whose, owner, "", what, 0))
        for what, field, envelope in (("claim", "c", claim), ("answer", "a", answer))
        if envelope is not None
    ]


async def _of_batch(store: Store, key: str, owner: str) -> list[Sealed]:
    envelope = await store.execute("HGET", key, "f")
    return [Sealed(owner, "fingerprint", "f", b"", envelope, fingerprint_place(owner))] if envelope else []


def _below_header(owner: str, what: str, stored: bytes) -> Sealed:
    """Of an entry that is a line of JSON, in the clear, and then the envelope, which is sealed for what that says."""
    head, newline, envelope = stored.partition(b"\n")
    try:
        header = json.loads(head)
        belongs = Place(header["tenant"], owner, header["grant"], what, header["generation"])
    except (ValueError, LookupError, TypeError):
        belongs = None
    return Sealed(owner, what, "", head + newline, envelope, belongs)


_CONNECTION: Final = rf"{re.escape(names.PREFIX)}\{{\d+\}}:(?P<owner>con_[0-9A-Za-z]+)"

KINDS: Final = (
    Kind(re.compile(_CONNECTION), "hash", _of_record),
    Kind(re.compile(f"{_CONNECTION}:revocation"), "string", _of_queue),
    Kind(re.compile(f"{_CONNECTION}:parked"), "list", _of_list),
    Kind(re.compile(rf"{re.escape(names.PREFIX)}(?P<owner>cs_[0-9A-Za-z]+)"), "hash", _of_session),
    Kind(re.compile(rf"{re.escape(names.PREFIX)}(?P<owner>cs_[0-9A-Za-z]+):typed"), "string", _of_form),
    Kind(re.compile(rf"{re.escape(names.PREFIX)}(?P<owner>rep_[0-9a-f]+)"), "hash", _of_repeat),
    Kind(re.compile(rf"{re.escape(names.PREFIX)}(?P<owner>da_[0-9A-Za-z]+)"), "hash", _of_device),
    Kind(re.compile(rf"{re.escape(names.PREFIX)}(?P<owner>imp_[0-9A-Za-z]+)"), "hash", _of_batch),
)


async def read(store: Store, holder: Holder) -> list[Sealed]:
    """The envelopes that lie there now.

    :raises StoreUnavailable: the store can't be read.
    """
    return await holder.kind.read(store, holder.key, holder.owner)

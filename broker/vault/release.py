"""The hot path's one step: read the record, spend the reference, write the audit event, hand out the token."""

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Literal

from broker.errors import SealBroken
from broker.models.access import Reach
from broker.models.connection import Credential, Served, Status
from broker.models.event import Event
from broker.models.ids import new_id
from broker.vault import names, scripts
from broker.vault.keyring import Keyring
from broker.vault.record_form import place
from broker.vault.redis.store import Argument, Reply, Store, run_or_repeat
from broker.vault.served import FIELDS, served_of
from broker.vault.stored import UNREADABLE

_NO_GENERATION = ""


@dataclass(slots=True)  # not frozen: each request makes one, and freezing would be most of that
class Release:
    """A token that left the vault; its event, of ``released_at`` (ms), is stored."""

    connection_id: str
    provider: str
    access_token: str = field(repr=False)
    generation: int
    expires_at: int | None
    scopes: tuple[str, ...]
    released_at: int
    token_type: str = "Bearer"  # noqa: S105 - the name of a type
    """``N_A`` (RFC 8693 §2.2.1): the provider wants it otherwise than as a bearer token."""
    fallback_for: str | None = None
    """The connection that was asked for, where this one serves in its place."""
    whole: tuple[Served, Credential] | None = field(default=None, repr=False)
    """The whole credential, and whose it is, where it was asked for."""

    @property
    def expires_in(self) -> int | None:
        """Seconds the token has left; ``None``: no end is known."""
        return None if self.expires_at is None else max(0, (self.expires_at - self.released_at) // 1000)


@dataclass(frozen=True, slots=True)
class Kept:
    """Nothing was released, spent or written, and why.

    ``absent``: no such connection within reach. ``reference``: no such reference for this audience.
    ``status``: the connection is not active. ``withheld``: its provider's tokens are not released. ``stale``: refresh
    ``generation`` first. ``scopes``: the reference needs some that are ``missing``. ``moved``: it has another grant
    than the one that was named.
    """

    reason: Literal["absent", "reference", "status", "withheld", "stale", "scopes", "moved"]
    status: Status | None = None
    generation: int | None = None
    missing: tuple[str, ...] = ()
    provider: str | None = None
    """Whose tokens are ``withheld``."""


@dataclass(slots=True)  # as above
class Claim:
    """Who wants what of a connection; enforced within the one step."""

    reach: Reach
    """Whose connections the caller can touch."""
    released: frozenset[str]
    """Providers whose tokens may be released: of one that nobody knows, none is."""
    refused_generation: int | None = None
    """A generation that the provider refused and that must not be served again."""
    reference_digest: str | None = None
    """The reference that entitles the caller, to be spent."""
    whole: bool = False
    """Whether it is for a request that it is put on: the whole credential, with what decides where it may go."""
    grant_id: str | None = None
    """The one that the record must have; ``None``: whichever it has."""


class Releases:
    """Releases access tokens; the decision and the record of it are one atomic step."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def release(self, connection_id: str, claim: Claim, event: Event, outlive: int) -> Release | Kept:
        """Release the connection's access token if it outlives the moment ``outlive`` (ms).

        :param event: what is recorded if the token leaves; its ``client_id`` is the audience of the reference. Its data
            is completed with provider and generation.
        :raises SealBroken: the record is damaged, or the token can't be opened; then the use of the reference is given
            back, and the record says so.
        """
        reach, reference_digest, whole = claim.reach, claim.reference_digest, claim.whole
        keys = [*names.record_and_outbox(connection_id)]
        if reference_digest is not None:
            keys.append(names.reference(connection_id, reference_digest))
        arguments: list[Argument] = [
            event.at,
            outlive,
            reach.tenant,
            "*" if reach.providers is None else _listed(reach.providers),
            _listed(claim.released),
            event.client_id or "",
            _NO_GENERATION if claim.refused_generation is None else claim.refused_generation,
            event.opened(),
            event.id,
            "".join([f",{json.dumps(name)}:{json.dumps(value)}" for name, value in event.data.items()]),
            claim.grant_id or "",
            *(FIELDS if whole else ()),
        ]
        # A use may be spent and the answer lost. A repeat by the same name spends nothing more; its event is the same.
        run = self._store.run if reference_digest is None else partial(run_or_repeat, self._store)
        reply = await run(scripts.RELEASE, keys, arguments)
        if reply[0] != b"ok":
            return _kept(connection_id, reply)
        generation, expiry, grant, scopes, sealed, provider = reply[1:7]
        try:
            belongs = place(
                reach.tenant,
                connection_id,
                provider=provider.decode(),
                grant_id=grant.decode(),
                field="access_token",
                generation=int(generation),
            )
            access_token = self._keyring.open(belongs, sealed).decode()
            opened = None
            if whole:
                opened = served_of(
                    self._keyring,
                    connection_id,
                    reply[7:],
                    tenant=reach.tenant,
                    provider=provider.decode(),
                    grant_id=grant.decode(),
                    generation=int(generation),
                    access_token=access_token,
                )
            return Release(
                connection_id=connection_id,
                provider=provider.decode(),
                access_token=access_token,
                generation=int(generation),
                expires_at=int(expiry) if expiry else None,
                scopes=tuple(scopes.decode().split()),
                released_at=event.at,
                whole=opened,
            )
        except (SealBroken, *UNREADABLE) as error:
            # The script has judged these two by their letters.
            failed = {"provider": provider.decode(), "generation": int(generation)}
            undone = replace(event, id=new_id("evt"), type="token.release_failed", data=failed)
            await self._store.run(scripts.RELEASE_UNDO, keys[1:], [undone.encode()])
            if isinstance(error, SealBroken):
                raise
            raise _damaged(connection_id) from None


def _kept(connection_id: str, reply: Reply) -> Kept:
    """What the script answered in place of a token.

    :raises SealBroken: the record is damaged.
    """
    word = reply[0].decode()
    if word == "damaged":
        raise _damaged(connection_id)
    try:
        return Kept(
            word,
            status=Status(reply[1].decode()) if word == "status" else None,
            generation=int(reply[1]) if word == "stale" else None,
            missing=tuple(scope.decode() for scope in reply[1:]) if word == "scopes" else (),
            provider=reply[1].decode() if word == "withheld" else None,
        )
    except UNREADABLE:
        raise _damaged(connection_id) from None


def _damaged(connection_id: str) -> SealBroken:
    return SealBroken(f"the stored record of {connection_id} is damaged")


@lru_cache(1024)
def _listed(providers: frozenset[str]) -> str:
    # Commas at both ends, so that the script finds whole names only; names are [a-z0-9_-].
    return f",{','.join(providers)}," if providers else ""

"""``broker keys``: the encryption keys, and rotating them while the broker works."""

import base64
import os
from typing import Annotated

import typer
from pydantic import BaseModel

from broker.app.heart import Heart
from broker.cli.faults import EXIT_REFUSED
from broker.cli.output import Json, note, print_fields, print_json, print_table
from broker.cli.progress import progress
from broker.cli.session import with_heart
from broker.errors import FieldFault, InvalidRequest
from broker.settings import Settings
from broker.settings.values import parse_keys
from broker.vault.key_file import put_new_key_first
from broker.vault.rotation import Outcome, Rotation, State, Tell, Unreadable

commands = typer.Typer(
    name="keys", help="Make, look at and rotate encryption keys.", no_args_is_help=True, rich_markup_mode=None
)


class KeyView(BaseModel):
    """A key. Its fingerprint tells it from others, and nothing of the key."""

    kid: str
    fingerprint: str | None
    """``None``: the ring lacks it; stored secrets name it all the same."""
    writes: bool
    registered: bool
    """Whether the store says that every ring must hold it."""
    held_by: int
    """How many running broker processes can read with it."""
    written_by: int
    """How many write with it."""
    envelopes: int | None
    """How many stored secrets are sealed with it; ``None``: not counted."""


class KeyringView(BaseModel):
    """The keys in force."""

    source: str
    """The variable or the file they stand in."""
    writer: str
    unfinished: bool
    """Whether a rotation goes on or was broken off."""
    replicas: int
    """How many broker processes run."""
    keys: list[KeyView]


class UnreadableView(BaseModel):
    """A stored secret that can't be opened."""

    id: str
    what: str
    key: str | None


class RotatedView(BaseModel):
    """What came of a rotation."""

    writer: str
    made: str | None
    """A key that was put first into the embedded store's file; while ``writer`` is another one, it can't write yet."""
    rewrapped: int
    already: int
    unreadable: list[UnreadableView]
    retired: list[str]


@commands.command()
def generate(
    kid: Annotated[str | None, typer.Option(help="The key's id; default: a random one.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key for BROKER_ENCRYPTION_KEYS: kid:base64. It is not kept anywhere."""
    kid = kid or f"k{os.urandom(4).hex()}"
    # 32 bytes from the system's generator: the full strength of AES-256, nothing derived from a password.
    entry = f"{kid}:{base64.b64encode(os.urandom(32)).decode()}"
    try:
        parse_keys(entry)
    except ValueError:
        raise InvalidRequest("no such key can be made", [FieldFault("kid", "1 to 32 of A-Z a-z 0-9 . _ -")]) from None
    if as_json:
        print_json({"kid": kid, "key": entry})
        return
    print(entry)
    note("Put it into BROKER_ENCRYPTION_KEYS and keep a copy: without it, stored credentials can't be read.")


@commands.command()
def status(
    count: Annotated[bool, typer.Option("--count", help="Count the stored secrets under each key.")] = False,
    as_json: Json = False,
) -> None:
    """Show the keyring, and which key writes. Fails if the store was written with other keys."""

    async def work(heart: Heart) -> KeyringView:
        # A connection is made only after the ring was compared with the keys the store knows.
        await heart.store.execute("PING")
        rotation = Rotation(heart.store, heart.keyring, heart.replicas)
        state = await rotation.state()
        counted = await rotation.count() if count else None
        ring = heart.keyring.fingerprints()
        return KeyringView(
            source=_source(heart.settings),
            writer=state.writer,
            unfinished=state.unfinished,
            replicas=len(state.living),
            keys=[
                KeyView(
                    kid=kid,
                    fingerprint=ring.get(kid),
                    writes=kid == state.writer,
                    registered=kid in state.registered,
                    held_by=sum(replica.holds(kid, ring[kid]) for replica in state.living) if kid in ring else 0,
                    written_by=sum(replica.writes == kid for replica in state.living),
                    envelopes=None if counted is None else counted[kid],
                )
                for kid in (*ring, *sorted(set(counted or ()) - set(ring)))
            ],
        )

    ring = with_heart(work)
    if as_json:
        print_json(ring)
        return
    _print_ring(ring)


@commands.command()
def rotate(as_json: Json = False) -> None:
    """Have the first key of the ring write, and seal everything anew with it, while the broker works.

    Broken off, it goes on when it is run again. Where the embedded store's first key writes already, a new one is made.
    """
    with progress() as tell:
        view, running = with_heart(lambda heart: _rotate(heart, tell))
        if view.made and not running:
            # Nobody has to be restarted before the new key can write.
            made = view.made
            view, _ = with_heart(lambda heart: _rotate(heart, tell))
            view = view.model_copy(update={"made": made})
    if as_json:
        print_json(view)
    else:
        _print_rotated(view)
    if view.unreadable:
        raise typer.Exit(EXIT_REFUSED)


async def _rotate(heart: Heart, tell: Tell) -> tuple[RotatedView, bool]:
    """What came of it, and whether a broker runs."""
    rotation = Rotation(heart.store, heart.keyring, heart.replicas)
    async with heart.replicas.counted():
        state, target = await rotation.state(), heart.keyring.first
        running = any(replica.role == "worker" for replica in state.living)
        if _may_make_key(heart.settings, state, target):
            made = put_new_key_first(heart.settings.data_dir, before=target)
            view = RotatedView(writer=target, made=made, rewrapped=0, already=0, unreadable=[], retired=[])
            return view, running
        return _view_of(await rotation.run(target, tell)), running


def _may_make_key(settings: Settings, state: State, target: str) -> bool:
    # While another key is registered, an earlier rotation to this one isn't over yet.
    return settings.encryption_keys is None and state.writer == target and not state.unfinished


def _source(settings: Settings) -> str:
    own = settings.encryption_keys is None
    return str(settings.data_dir / "encryption_keys") if own else "BROKER_ENCRYPTION_KEYS"


def _view_of(outcome: Outcome) -> RotatedView:
    return RotatedView(
        writer=outcome.writer,
        made=None,
        rewrapped=outcome.tally.rewrapped,
        already=outcome.tally.already,
        unreadable=[_unreadable(one) for one in outcome.tally.unreadable],
        retired=list(outcome.retired),
    )


def _unreadable(one: Unreadable) -> UnreadableView:
    return UnreadableView(id=one.id, what=one.what, key=one.key)


def _print_ring(ring: KeyringView) -> None:
    columns = ["KEY", "FINGERPRINT", "USED FOR", "HELD BY", "WRITTEN BY", "SECRETS"]
    rows = [
        (
            key.kid or "(none)",
            key.fingerprint or "not in the ring",
            _use(key),
            str(key.held_by),
            str(key.written_by),
            None if key.envelopes is None else str(key.envelopes),
        )
        for key in ring.keys
    ]
    print_table(columns, rows)
    note(f"The keys stand in {ring.source}; broker processes running: {ring.replicas}.")
    first = ring.keys[0].kid
    if first != ring.writer:
        note(f"The first key is {first}, but {ring.writer} writes. To change over: broker keys rotate")
    elif ring.unfinished:
        note("A rotation is not over. If none is going on now: broker keys rotate")


def _use(key: KeyView) -> str:
    if key.writes:
        return "writing and reading"
    if key.registered:
        return "reading"
    return "nothing yet, or nothing any more"


def _print_rotated(view: RotatedView) -> None:
    if view.made and view.writer != view.made:
        note(f"The new key {view.made} stands first in the file of keys. Restart broker serve so that it reads it,")
        note("then run this again: until then everything is sealed with the old key.")
        return
    print_fields(
        {
            "writes now": view.writer,
            "new key": view.made,
            "sealed anew": str(view.rewrapped),
            "already with it": str(view.already),
            "not readable": str(len(view.unreadable)),
            "retired": ", ".join(view.retired),
        }
    )
    for one in view.unreadable:
        note(f"can't be opened: {one.what} of {one.id}, sealed with {one.key or 'no key that can be told'}")
    if view.unreadable:
        note(
            "No key was retired. Put the missing key back into the ring, or delete what is broken, and run this again."
        )
    elif view.retired:
        note(f"Broker processes need these keys no more: {', '.join(view.retired)}. Leave them in for an hour: people")
        note("who are connecting now carry cookies that were signed with them. Keep a copy for as long as backups.")

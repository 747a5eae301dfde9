"""``broker keys``: the encryption keys."""

import base64
import os
from typing import Annotated

import typer
from pydantic import BaseModel

from broker.app.heart import Heart
from broker.cli.output import Json, note, print_json, print_table
from broker.cli.session import with_heart
from broker.errors import FieldFault, InvalidRequest
from broker.settings.values import parse_keys

commands = typer.Typer(
    name="keys", help="Make encryption keys and look at the keyring.", no_args_is_help=True, rich_markup_mode=None
)


class KeyView(BaseModel):
    """A key of the ring. Its fingerprint tells it from others, and nothing of the key."""

    kid: str
    fingerprint: str
    writes: bool


class KeyringView(BaseModel):
    """The keys in force."""

    source: str
    """The variable or the file they stand in."""
    writer: str
    keys: list[KeyView]


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
def status(as_json: Json = False) -> None:
    """Show the keyring, and which key writes. Fails if the store was written with other keys."""

    async def work(heart: Heart) -> KeyringView:
        # A connection is made only after the ring was compared with the keys the store knows.
        await heart.store.execute("PING")
        settings, writer = heart.settings, heart.keyring.writer
        own = settings.encryption_keys is None
        return KeyringView(
            source=str(settings.data_dir / "encryption_keys") if own else "BROKER_ENCRYPTION_KEYS",
            writer=writer,
            keys=[
                KeyView(kid=kid, fingerprint=fingerprint, writes=kid == writer)
                for kid, fingerprint in heart.keyring.fingerprints().items()
            ],
        )

    ring = with_heart(work)
    if as_json:
        print_json(ring)
        return
    rows = [(key.kid, key.fingerprint, "writing and reading" if key.writes else "reading") for key in ring.keys]
    print_table(["KEY", "FINGERPRINT", "USED FOR"], rows)
    note(f"The keys stand in {ring.source}; the store knows them.")

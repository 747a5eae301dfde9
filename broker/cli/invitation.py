"""What a person sees at the machine that logs in: the code, where to enter it, a QR code, the time that is left.

Everything of it goes to stderr, and what comes from a provider is cleaned first: it must not steer the terminal.
"""

import os
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from broker.cli.device_grant import Invitation
from broker.cli.output import note, printable
from broker.cli.remote import on_loopback

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_QUIET_ZONE: Final = 2
"""Light modules around a QR code. The norm asks for four; phones do with two, and terminals are small."""
_AROUND: Final = 14
"""Lines above and below the picture, where all of it stands on the terminal at once."""
_BELOW: Final = 4
"""Lines below the picture where it stands alone: address and code again, and the time that is left."""
_BLOCKS: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
"""Two modules in one character, the upper and the lower, by whether they are dark."""

ONLY_HERE: Final = "This address opens on the broker's own machine, or through a tunnel to it; not on a phone."
"""What is said of one on loopback: the broker has no ``BROKER_PUBLIC_URL``."""


def show(invitation: Invitation, display_name: str) -> None:
    """Say what to do."""
    link = invitation.verification_uri_complete
    scan = link if link and is_web_address(link) else None
    if not sys.stderr.isatty():
        note(f"To log in with {display_name}, open {invitation.verification_uri} and enter the code:")
        note(f"  {invitation.user_code}")
        if scan:
            note(f"Or open: {scan}")
        if on_loopback(invitation.verification_uri):
            note(ONLY_HERE)
        return
    from rich.console import Console  # noqa: PLC0415 - needed where a person looks
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    console.print(Text(f"\nTo log in with {printable(display_name)}, open this address on any device:\n"))
    console.print(Text(f"    {printable(invitation.verification_uri)}\n", style="bold"), soft_wrap=True)
    console.print(Text("and enter the code:\n"))
    console.print(
        Text(f"    {printable(invitation.user_code)}\n", style="bold reverse" if _colours(console) else "bold")
    )
    if on_loopback(invitation.verification_uri):
        console.print(Text(f"{ONLY_HERE}\n"))
    picture = qr_code(console, scan or invitation.verification_uri)
    if picture is not None:
        console.print(Text("or scan this:\n"))
        console.print(picture)
        if len(picture.plain.splitlines()) + _AROUND > console.height:
            # What stands above the picture has scrolled away, and not every phone reads one.
            again = f"\n    {printable(invitation.verification_uri)}   {printable(invitation.user_code)}\n"
            console.print(Text(again, style="bold"), soft_wrap=True)
    elif scan:
        console.print(Text("or open this, with the code in it:\n"))
        console.print(Text(f"    {printable(scan)}\n"), soft_wrap=True)


def open_browser(invitation: Invitation) -> None:
    """Open the page where there is a browser that the person can see."""
    address = invitation.verification_uri_complete or invitation.verification_uri
    if is_web_address(address) and has_display() and not _is_remote():
        webbrowser.open(address)


def has_display() -> bool:
    """Whether a browser can show itself; on a machine without display one might take over the terminal."""
    return sys.platform == "darwin" or any(name in os.environ for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def is_web_address(text: str) -> bool:
    """Whether ``text`` is an address that a browser may be sent to; not, say, a file of this machine."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    clean = text.isascii() and text.isprintable() and " " not in text
    return clean and parts.scheme in {"http", "https"} and bool(parts.hostname)


def qr_code(console: "Console", address: str) -> "Text | None":
    """The address as a QR code, if the terminal can show one that a camera can read: it needs colours and room."""
    if not _colours(console) or "utf" not in console.encoding.lower() or not is_web_address(address):
        return None
    import segno  # noqa: PLC0415 - not needed by machines
    from rich.text import Text  # noqa: PLC0415

    code = segno.make(address, error="l", micro=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=_QUIET_ZONE)]
    if len(rows[0]) > console.width or len(rows) / 2 + _BELOW > console.height:
        return None
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    lines = ("".join(map(_block, upper, lower)) for upper, lower in zip(rows[::2], rows[1::2], strict=True))
    # With colours of its own: on a dark terminal it would be inverted, which not every camera reads.
    return Text("\n").join(Text(line, style="#000000 on #ffffff") for line in lines)


@contextmanager
def waiting() -> Iterator[Callable[[float, str], None]]:
    """Called every second with how many are left, and what is wrong meanwhile."""
    if not sys.stderr.isatty():
        yield _Lines().tell
        return
    from rich.console import Console  # noqa: PLC0415 - needed where a person looks
    from rich.text import Text  # noqa: PLC0415

    with Console(stderr=True).status(Text("Waiting for you")) as shown:
        yield lambda left, trouble: shown.update(Text(_line(left, trouble)))


class _Lines:
    """Says something only when it changes: nobody watches a file."""

    def __init__(self) -> None:
        self._said: str | None = None

    def tell(self, left: float, trouble: str) -> None:
        if trouble != self._said:
            self._said = trouble
            note(_line(left, trouble))


def _line(left: float, trouble: str) -> str:
    minutes, seconds = divmod(int(left), 60)
    waits = f"Waiting for you, {minutes}:{seconds:02} left"
    return f"{waits} (trying again: {printable(trouble)})" if trouble else waits


def _is_remote() -> bool:
    """Whether the person sits elsewhere, and a browser here would open where nobody looks."""
    return any(name in os.environ for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))


def _colours(console: "Console") -> bool:
    return console.color_system is not None and not console.no_color


def _block(upper: bool, lower: bool) -> str:
    return _BLOCKS[upper, lower]

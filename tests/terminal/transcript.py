"""What a terminal showed, with examples in place of what differs each time, as the documentation shows it."""

import re
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.console import Console

from broker.cli.invitation import ONLY_HERE, qr_code

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "device-login.md"
_BLOCK: Final = re.compile(r"(?<=<!-- transcript -->\n).*?(?=<!-- /transcript -->)", re.DOTALL)
_BROKER: Final = "https://broker.example"
_CODE: Final = "WDJB-MJHT"
_EXAMPLES: Final = (
    (r"http://localhost:\d+", _BROKER),
    (r"\b[B-Z]{4}-[B-Z]{4}\b", _CODE),
    (r"\bcon_\w{22}\b", "con_4fVXk0zJ9mQ2sTnB7cLpRd"),
    (r"\bpat_[\w-]{43}(?![\w-])", "pat_9tQ0xRkzVd3oJm1uYcWb5gLsEhT7iPa2nFvC8rKqXeM"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d", "2026-03-02T09:30"),
)
_QR_LINE: Final = re.compile(r"[ ▀▄█]*[▀▄█][ ▀▄█]*")


def transcript(screen: str) -> str:
    """``screen`` without the last prompt, and with examples."""
    lines: list[str] = []
    for is_picture, group in groupby(screen.rstrip().splitlines()[:-1], _is_picture):
        lines += _example_qr_code() if is_picture else group
    # The example's address is no loopback address.
    text = "\n".join(line for line in lines if line != ONLY_HERE)
    for pattern, example in _EXAMPLES:
        text = re.sub(pattern, example, text)
    return re.sub(r"\n{3,}", "\n\n", text)


def documented() -> str:
    """The transcript in the documentation."""
    (block,) = _BLOCK.findall(DOCUMENT.read_text())
    return str(block).strip().removeprefix("```console\n").removesuffix("\n```")


def write(text: str) -> None:
    """Put it into the documentation."""
    block = f"```console\n{text}\n```\n"
    DOCUMENT.write_text(_BLOCK.sub(lambda _: block, DOCUMENT.read_text()))


def _is_picture(line: str) -> bool:
    return _QR_LINE.fullmatch(line) is not None


def _example_qr_code() -> list[str]:
    console = Console(force_terminal=True, color_system="256", width=100, height=50)
    picture = qr_code(console, f"{_BROKER}/device?user_code={_CODE}")
    assert picture is not None
    return [line.rstrip() for line in picture.plain.splitlines()]

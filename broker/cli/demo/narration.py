"""The story in a terminal: steps, exchanges, claims. Prints as well where there is no terminal."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.highlighter import JSONHighlighter
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from broker.cli.demo.exchange import Exchange, brief, shortened

_WIDEST: Final = 110
_WIDTH_WITHOUT_TERMINAL: Final = 100
_INDENT: Final = (0, 0, 0, 4)
_MARK_WIDTH: Final = 7
_LOG_LINES: Final = 15
_COUNT: Final = re.compile(r'"\[(\d+ items)\]"')
_JSON: Final = JSONHighlighter()
_THEME: Final = Theme(
    {"json.key": "dim", "json.brace": "dim", "json.str": "none", "json.number": "none", "json.bool_true": "none"}
)
_TYPE_NAME: Final = re.compile(r"urn:ietf:params:oauth:(?:grant-type|token-type):")

_TOLD: Final = re.compile(
    "access_token|account|audience|client_id|client_secret|code|completion_code|connect_url|connection|decision|detail"
    "|email|error|error_description|expire_access_tokens|expires_in|generation|grant_type|id|items|Location|messages"
    "|name|outcome|page|provider|reference|scope|stale_generation|status|subject|subject_name|subject_token"
    "|subject_token_type|token_type|upstream"
)
"""What of a body is worth a reader's time."""


class Narrator:
    """Tells; knows nothing of what it tells about."""

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        terminal = Console(file=stream)
        width = min(terminal.width, _WIDEST) if terminal.is_terminal else _WIDTH_WITHOUT_TERMINAL
        self._console = Console(file=stream, width=width, theme=_THEME, highlight=False, emoji=False, markup=False)
        self._step = 0
        self.claims = 0
        """How many claims were made so far."""

    def title(self, name: str, text: str) -> None:
        """What this is."""
        self._console.print()
        self._console.print(Text.assemble((name, "bold cyan"), "  ", (text, "dim")))

    def step(self, title: str, why: str) -> None:
        """A new step begins, and why it is done this way."""
        self._step += 1
        self._console.print()
        self._console.print(Text.assemble((f"{self._step:>2}  ", "bold cyan"), (title, "bold")))
        self._indented(Text(f"Why: {why}", style="italic dim"))

    def say(self, text: str) -> None:
        """One sentence of the story."""
        self._indented(Text(text))

    def exchange(self, exchange: Exchange) -> None:
        """A request and its answer."""
        request = _request(exchange)
        if exchange.credentials:
            request.append(f"  {brief(exchange.credentials)}", style="dim")
        self._indented(request)
        if exchange.sent:
            self._aside("", _body(exchange.sent))
        self._aside(_status(exchange), _body(exchange.answered))

    def glimpse(self, exchange: Exchange) -> None:
        """A request and its answer, in one line."""
        self._indented(Text.assemble(_status(exchange), "  ", _request(exchange)))

    def command(self, words: Sequence[str], answer: Mapping[str, Any]) -> None:
        """A command of the broker's own command line, and what it printed."""
        typed = " ".join(f'"{word}"' if " " in word else word for word in words)
        self._indented(Text.assemble(("$ ", "cyan"), (f"broker {typed}", "bold")))
        self._aside("", _body(answer))

    def claim(self, text: str) -> None:
        """Something that was checked, and holds."""
        self.claims += 1
        self._indented(Text.assemble(("✓ ", "bold green"), text))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table."""
        table = Table(*headings, box=SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print()
        self._indented(table)

    def copyable(self, text: str) -> None:
        """Lines to copy: never wrapped, never shortened."""
        self._console.print(Text(text), soft_wrap=True)

    def summary(self, text: str) -> None:
        """The good end."""
        self._console.print()
        self._console.print(Panel(Text(text, style="bold green"), border_style="green", expand=False, padding=(0, 2)))

    def failure(self, text: str, logs: Sequence[Path] = ()) -> None:
        """The bad end: what was wrong, and what the programs said last."""
        self._console.print()
        where = f"Step {self._step} failed" if self._step else "The demo could not start"
        self._console.print(Panel(Text(shortened(text)), title=where, border_style="red", title_align="left"))
        for log in logs:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
            if lines:
                self._console.print(Text(f"the end of {log.name}:", style="dim"))
                self._console.print(Padding(Text(shortened("\n".join(lines))), _INDENT, expand=False))

    def _indented(self, what: RenderableType) -> None:
        self._console.print(Padding(what, _INDENT, expand=False))

    def _aside(self, mark: Text | str, text: Text) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(justify="right", width=_MARK_WIDTH, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(mark, text)
        self._indented(grid)


def _readable(text: str) -> str:
    """``text`` with long names cut, and room to break a query."""
    return _TYPE_NAME.sub("…", brief(text)).replace("&", " &")


def _request(exchange: Exchange) -> Text:
    who = f"{exchange.caller} → {exchange.callee}"
    return Text.assemble((who, "cyan"), "  ", (f"{exchange.method} {_readable(exchange.target)}", "bold"))


def _status(exchange: Exchange) -> Text:
    return Text(f"← {exchange.status}", style="green" if exchange.status < 400 else "yellow")


def _body(body: Mapping[str, Any]) -> Text:
    text = _readable(json.dumps(_abridged(body), ensure_ascii=False)) if body else ""
    return _JSON(_COUNT.sub(r"[\1]", text))


def _abridged(value: object) -> object:
    match value:
        case dict():
            known = {name: part for name, part in value.items() if _TOLD.fullmatch(name) and part is not None}
            return {name: _abridged(part) for name, part in known.items()}
        case list():
            return f"[{len(value)} items]"
        case _:
            return value

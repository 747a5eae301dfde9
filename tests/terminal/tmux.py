"""A terminal that a program types into and looks at: a shell in tmux, with a server of its own."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROMPT: Final = "$"
_PATIENCE: Final = 60.0
_SHELL: Final = ("bash", "--noprofile", "--norc", "-i")


@dataclass
class Terminal:
    """A shell at a terminal."""

    socket: Path
    commands: int = 0

    def screen(self) -> str:
        """Everything that stands on it, and what has scrolled away."""
        return "\n".join(line.rstrip() for line in self._tmux("capture-pane", "-p", "-J", "-S", "-").splitlines())

    def start(self, command: str) -> None:
        """Type a command, and Enter."""
        self._tmux("send-keys", "-l", command)
        self._tmux("send-keys", "Enter")
        self.commands += 1

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._tmux("send-keys", "C-c")

    def resize(self, width: int, height: int) -> None:
        """Make it smaller or larger."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def cursor_is_shown(self) -> bool:
        """Whether the cursor is there: programs hide it while they draw."""
        return self._tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def finish(self) -> str:
        """Wait until the shell is ready for the next command; what stands on the terminal then."""
        return self.wait_for(self._is_ready)

    def run(self, command: str) -> str:
        """Type a command and wait for its end; what it put on the terminal."""
        self.start(command)
        lines = self.finish().rstrip().splitlines()
        typed = max(number for number, line in enumerate(lines) if line.startswith(f"{PROMPT} "))
        return "\n".join(lines[typed + 1 : -1])

    def wait_for(self, found: Callable[[str], bool]) -> str:
        """Look until the terminal shows it; what stands there then."""
        deadline = time.monotonic() + _PATIENCE
        while not found(screen := self.screen()):
            # tmux can't tell when a program has written.
            assert time.monotonic() < deadline, screen
            time.sleep(0.05)
        return screen

    def _is_ready(self, screen: str) -> bool:
        lines = screen.rstrip().splitlines()
        prompts = sum(line == PROMPT or line.startswith(f"{PROMPT} ") for line in lines)
        return bool(lines) and lines[-1] == PROMPT and prompts == self.commands + 1

    def _tmux(self, *words: str) -> str:
        return subprocess.check_output(["tmux", "-S", self.socket, *words], text=True)


@contextmanager
def terminal(folder: Path, environ: Mapping[str, str], home: Path) -> Iterator[Terminal]:
    """A shell in ``home`` that has these variables and no others.

    :param folder: where the socket will be; its path must be short.
    """
    socket = folder / "tmux"
    size = ("-x", "100", "-y", "50")
    start = ["tmux", "-S", str(socket), "-f", "/dev/null", "new-session", "-d", *size, "-c", str(home), *_SHELL]
    subprocess.run(start, env=dict(environ), check=True)
    shown = Terminal(socket)
    try:
        shown.wait_for(lambda screen: screen.strip() == PROMPT)
        yield shown
    finally:
        subprocess.run(["tmux", "-S", socket, "kill-server"], check=False)

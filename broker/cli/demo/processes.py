"""Programs that are started together, watched, and always ended."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

START_SECONDS: Final = 30.0
_END_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.02
_DYING_SECONDS: Final = 1.0
"""How long a process may take from closing its connections to being seen as ended."""
_END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ProcessFailed(Exception):
    """A program ended although it should run, or did not do what it was started for."""


@dataclass(slots=True)
class Program:
    """A running program."""

    name: str
    url: str
    log: Path
    process: "subprocess.Popen[bytes]"
    started: float
    ready_after: float = 0.0
    """Seconds from its start to its first answer."""


class Processes:
    """What was started, in order. Everything they print goes into log files in ``folder``."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._programs: list[Program] = []

    def start(self, name: str, url: str, command: Sequence[str]) -> Program:
        """Start a program that will answer at ``url``; it runs until :meth:`end`."""
        log = self._folder / f"{name.lower().replace(' ', '-')}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                command,
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C in a terminal reaches the demo alone, which then ends all in order.
                process_group=0,
            )
        program = Program(name, url, log, process, time.monotonic())
        self._programs.append(program)
        return program

    def wait_ready(self, program: Program, path: str) -> None:
        """Return once ``path`` of the program's address is answered with 200.

        :raises ProcessFailed: it ended, or takes longer than :data:`START_SECONDS`.
        """
        with httpx2.Client(trust_env=False, timeout=5) as http:
            while not _answers(http, f"{program.url}{path}"):
                self.check()
                if time.monotonic() > program.started + START_SECONDS:
                    raise ProcessFailed(f"{program.name} did not come up within {START_SECONDS:.0f} s")
                time.sleep(_POLL_SECONDS)
        program.ready_after = time.monotonic() - program.started

    def check(self) -> None:
        """Return if all programs run.

        :raises ProcessFailed: one has ended.
        """
        for program in self._programs:
            code = program.process.poll()
            if code is not None:
                raise ProcessFailed(f"{program.name} (process {program.process.pid}) {_ending(code)}")

    def check_after_fault(self) -> None:
        """:meth:`check` for whoever just saw something go wrong: the cause may be a program that is only now ending.

        The kernel closes the connections of a process that dies before it tells the parent, so whoever talked to it
        can be there first.

        :raises ProcessFailed: a program has ended.
        """
        deadline = time.monotonic() + _DYING_SECONDS
        while time.monotonic() < deadline:
            self.check()
            time.sleep(_POLL_SECONDS)

    def run(self, command: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a command whose output is wanted; :func:`output_of` waits for it."""
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            command,
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def end(self) -> None:
        """End every program, the youngest first; those that don't listen are killed."""
        for program in reversed(self._programs):
            program.process.terminate()
            try:
                program.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                program.process.kill()
                program.process.wait()


def output_of(command: "subprocess.Popen[str]", what: str) -> str:
    """What a command printed.

    :raises ProcessFailed: it failed, or took longer than :data:`START_SECONDS`; with what it said about that.
    """
    try:
        output, errors = command.communicate(timeout=START_SECONDS)
    except BaseException as error:
        command.kill()
        command.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise ProcessFailed(f"{what} did not end within {START_SECONDS:.0f} s") from None
        raise
    if command.returncode != 0:
        raise ProcessFailed(f"{what} {_ending(command.returncode)}: {errors.strip() or output.strip()}")
    return output


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules."""
    # -P: a file named like one of our imports in the working directory must not take its place.
    return [sys.executable, "-P", "-m", module, *arguments]


def free_ports(count: int) -> list[int]:
    """So many different loopback ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(found.getsockname()[1]) for found in sockets]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let signals that would end this process wait: something has to be carried through."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _answers(http: httpx2.Client, url: str) -> bool:
    with suppress(httpx2.TransportError):
        return http.get(url).status_code == 200
    return False


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

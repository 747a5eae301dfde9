"""``broker serve`` as a process to be killed, stopped, ended and started again, always at the same address."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2

from broker.observe.steps import VARIABLE
from tests.chaos.holder import Tickets
from tests.chaos.line import StoreLine
from tests.chaos.waiting import PATIENCE, become
from tests.processes import broker_environment


class BrokerProcess:
    """A parent and its one worker."""

    def __init__(self, folder: Path, env: Mapping[str, str], line: StoreLine, *, held: bool) -> None:
        """:param held: whether it can be held at steps."""
        folder.mkdir()
        self.line = line
        self.tickets = Tickets(folder / "steps")
        self._folder = folder
        self._log = folder / "log"
        steps = {VARIABLE: str(self.tickets.folder)} if held else {}
        self._environ = broker_environment(folder, {**env, **steps, "BROKER_REDIS_URL": line.url})
        self._process: subprocess.Popen[bytes]
        self._killed: int | None = None
        self.http = httpx2.AsyncClient(
            base_url=f"http://localhost:{self._environ['BROKER_PORT']}",
            # Who is stopped answers late, and who is killed leaves its connections behind.
            timeout=60,
            limits=httpx2.Limits(max_keepalive_connections=0),
            trust_env=False,
        )

    async def start(self) -> None:
        """Start it, and return when it can serve."""
        await asyncio.to_thread(self._launch)
        await become(self._ready, "a broker that is ready")

    def signal(self, number: signal.Signals) -> None:
        """Signal the worker, without its parent's knowing."""
        pid = self.tickets.pid
        assert pid is not None
        os.kill(pid, number)

    def kill(self) -> None:
        """``kill -9`` of the worker; its parent starts another one."""
        self._killed = self.tickets.pid
        self.signal(signal.SIGKILL)

    async def succeeded(self) -> None:
        """Return when there is another worker than the one that was killed."""
        await become(lambda: self.tickets.pid != self._killed, "the next worker")

    def terminate(self) -> None:
        """Tell it to end, as a service manager does."""
        self._process.terminate()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        await become(lambda: self._process.poll() is not None, "the end of a broker that was told to end", 60)
        code = self._process.returncode
        assert code is not None
        return code

    async def lives(self) -> None:
        """Return when it answers."""
        await become(lambda: self._answers("/livez"), "a broker that answers")

    def said(self) -> str:
        """Its log."""
        return self._log.read_text()

    async def aclose(self) -> None:
        """End it, whatever state it is in."""
        await self.http.aclose()
        if self._process.poll() is None:
            if (pid := self.tickets.pid) is not None:
                self.tickets.release()
                os.kill(pid, signal.SIGCONT)
            self._process.terminate()
            await asyncio.to_thread(self._end)

    def _launch(self) -> None:
        with self._log.open("a") as said:
            command = [sys.executable, "-m", "broker.cli.main", "serve"]
            # In a folder of its own: a .env of the working directory is none of the run's.
            self._process = subprocess.Popen(command, cwd=self._folder, env=self._environ, stderr=said)

    async def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the broker ended with {self._process.returncode}: {self.said()}")
        return await self._answers("/readyz")

    def _end(self) -> None:
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _answers(self, path: str) -> bool:
        try:
            return (await self.http.get(path, timeout=2)).status_code == 200
        except httpx2.TransportError:
            return False

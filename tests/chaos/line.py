"""The way from one broker to the store: answers get lost on it on command, and another server can stand at its end."""

import asyncio
from contextlib import suppress

from broker.vault.scripts import Script
from tests.vault.faulty_proxy import FaultyProxy

_CHUNK = 65_536


class StoreLine(FaultyProxy):
    """A proxy that knows which of the broker's scripts it carries."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._listened_for: tuple[bytes, ...] = ()
        self._again = False
        self.swallowed = 0
        """Answers that were kept back."""

    @property
    def url(self) -> str:
        """As ``BROKER_REDIS_URL`` names it."""
        return f"redis://{self.address}"

    def lead_to(self, target: str) -> None:
        """Carry new connections to another server."""
        self._target = target

    def swallow(self, *scripts: Script, again: bool = False) -> None:
        """Have the next of these scripts carried out, keep its answer back and end the connection.

        :param again: every time, until this is called anew; without scripts it ends.
        """
        self._listened_for = tuple(script.sha.encode() for script in scripts)
        self._again = again

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # there is nobody at the other end, or it died
            await super()._accept(reader, writer)
        writer.close()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            # A broker loads its scripts by their source, so their digests stand in calls only.
            if any(sha in data for sha in self._listened_for):
                self.drop_next_answer()
                self.swallowed += 1
                if not self._again:
                    self._listened_for = ()
            sink.write(data)
            await sink.drain()

"""A process whose events sink is its standard output, where nobody reads; run by ``test_sink``."""

import asyncio
import sys

from broker.observe.sink import Sink

LINES = 200
"""Of a kilobyte each: many times what the pipe holds."""


async def main(patience: float) -> None:
    """Write lines that the pipe can't hold, say on standard error what else happens meanwhile, and wait."""
    sink = Sink("stdout", patience=patience)
    first = asyncio.create_task(sink.write(f"{number:01000}" for number in range(LINES)))
    second = asyncio.create_task(sink.write(f"{number:01000}" for number in range(LINES, 2 * LINES)))
    await asyncio.sleep(0)  # both have begun
    print("others go on", file=sys.stderr, flush=True)
    for answer in await asyncio.gather(first, second, return_exceptions=True):
        print(repr(answer), file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))

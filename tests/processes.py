"""Real processes for tests: started on free ports, awaited, and always ended."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

_ROOT = Path(__file__).parent.parent
_PATIENCE = 20


@contextmanager
def sandbox_process(*args: str) -> Iterator[str]:
    """The practice provider as a process of its own, with these flags; yields its base URL.

    Raises ``RuntimeError`` with what it said on stderr when it doesn't start, or doesn't end cleanly.
    """
    command = [sys.executable, "-m", "broker.sandbox", *args]
    with (
        TemporaryFile("w+") as said,
        subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            # It prints one line once it listens; if it dies instead, the line is empty.
            line = process.stdout.readline() if process.stdout else ""
            if line:
                yield json.loads(line)["base_url"]
            process.terminate()
            status = process.wait(_PATIENCE)
        finally:
            process.kill()
        said.seek(0)
        if not line or status != 0:
            raise RuntimeError(f"the sandbox ended with status {status}: {said.read()}")

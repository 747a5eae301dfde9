"""What a worker loads, and what it doesn't: most of its start, and most of its memory."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.processes import children, resident
from broker.vault.redis.embedded import EmbeddedStore
from tests.app.test_supervisor import serving
from tests.processes import broker_to_signal


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """The modules that a worker with everything of the real app has loaded."""
    data_dir = tmp_path_factory.mktemp("worker") / "data"
    with ExitStack() as stack:
        stack.callback(EmbeddedStore(data_dir).stop_if_unused)
        served = stack.enter_context(serving(data_dir, app="loaded:create_app"))
        assert served.url, served.errors()
        yield set(served.get().json())
        assert served.end() == 0


@pytest.mark.parametrize("name", ["rich", "greenlet", "typer", "broker.cli", "dotenv", "botocore", "keyring"])
def test_a_worker_does_without(loaded: set[str], name: str) -> None:
    """What is for commands, for seldom requests, or for nobody here."""
    assert name not in loaded


def test_a_worker_that_has_just_started_is_small(tmp_path: Path) -> None:
    """At most 90 MB, as the design says; a tenth of that is left for other machines."""
    with broker_to_signal({}, log=tmp_path / "log") as (_, process):
        [worker] = children(process.pid, "broker.app.worker")
        assert resident(worker) <= 90e6

"""What a live broker answers is what its document says, whatever it is asked: schemathesis reads the one and asks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.contract.conftest import LiveBroker

_CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.mark.timeout(300)
def test_every_answer_is_one_that_the_document_knows(live_broker: LiveBroker, tmp_path: Path) -> None:
    """No 5xx, no status, content type, header or body that isn't documented; what the schema forbids is refused."""
    config = tmp_path / "schemathesis.toml"
    things = [f"[dictionaries.{kind}]\nvalues = {json.dumps(words)}" for kind, words in live_broker.things.items()]
    config.write_text("\n".join([_CONFIG.read_text(), *things]))
    environ = {
        **os.environ,
        "CONTRACT_URL": live_broker.url,
        "CONTRACT_TOKEN": live_broker.token,
        "CONTRACT_BASIC": live_broker.basic,
    }
    # A program of its own: nobody has to live with its plugin, and a developer can run it in the same way.
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    ran = subprocess.run(
        [*command, "run", f"{live_broker.url}/openapi.json"],
        cwd=tmp_path,
        env=environ,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Had the client that asks been removed on the way, little would have been tested after that.
    asked = httpx2.get(f"{live_broker.url}/v1/clients", headers={"Authorization": f"Bearer {live_broker.token}"})
    assert asked.status_code == 200

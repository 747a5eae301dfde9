"""The fault runs' short form: each kill at each step, at the provider that is hardest to survive at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.observe.steps import VARIABLE
from tests.chaos import lanes, report
from tests.chaos.cases import KILLS, STANDSTILLS, Kill, Step
from tests.chaos.judge import Verdict
from tests.processes import broker_environment

_REFUSED = 2
"""The exit code for a configuration at fault."""


async def test_no_refresh_is_lost_whatever_cuts_it_off() -> None:
    """Real processes, killed, stopped and ended at each step, and a store that is killed under load."""  # F1 F3 F6 R7
    outcome = lanes.Outcome()
    await lanes.short_form(outcome, "revoke_on_reuse")
    assert report.failures(outcome) == []
    assert len(outcome.cases) == (len(KILLS) + len(STANDSTILLS)) * len(Step)
    # What can't survive is declared: a grant that was seen to end is not taken for one that lives.
    declared = {(case.kill, case.step) for case, finding in outcome.cases if finding.verdict is Verdict.DECLARED}
    assert (Kill.SIGKILL, Step.WORKED) in declared
    assert outcome.load
    assert outcome.told > 2 * len(outcome.load)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"BROKER_PUBLIC_URL": "https://broker.example"}, "BROKER_PUBLIC_URL is not this machine's own"),
        ({}, "fault runs exist only in a source checkout, not in a build"),
    ],
    ids=["a broker that others reach", "a build"],
)
def test_what_is_in_use_can_not_be_held(tmp_path: Path, variables: dict[str, str], reason: str) -> None:
    """`broker serve` says so and doesn't start."""  # F1
    if not variables:
        # As where the package alone is installed: there is nothing of ours under this name.
        (tmp_path / "tests.py").touch()
        variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), broker_environment(tmp_path, {})["PYTHONPATH"]])}
    environ = broker_environment(tmp_path, {**variables, VARIABLE: str(tmp_path)})
    command = [sys.executable, "-P", "-m", "broker.cli.main", "serve"]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == _REFUSED
    assert f"{VARIABLE}: " in ended.stderr
    assert reason in ended.stderr

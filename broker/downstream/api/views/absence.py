"""Members of an answer that are left out where there is nothing to say."""


def is_absent(value: object) -> bool:
    """Whether a member is left out: for ``Field(exclude_if=…)``."""
    return value is None

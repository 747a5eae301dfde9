"""What tests of logging share."""

from tests.observe.capture import logged

__all__ = ["logged"]

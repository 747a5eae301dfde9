"""What tests of requests share."""

from tests.observe.capture import logged

__all__ = ["logged"]

"""Models whose fields say what they mean, in docstrings: ``/openapi.json`` shows them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

Absent = SkipJsonSchema[None]
"""``None`` of a member that is left out then, and never ``null``: ``str | Absent``."""

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time as RFC 3339 writes it."""


class Described(BaseModel):
    """Base of what answers say."""

    # Made ready when first used: all of them at once are a tenth of a worker's start, and few workers need them all.
    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

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

    model_config = ConfigDict(use_attribute_docstrings=True)

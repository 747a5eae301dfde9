"""The two answers made for secrets: an access token, and a reference."""

from pydantic import BaseModel, Field

from broker.downstream.api.views.absence import is_absent


class TokenView(BaseModel):
    """An access token of the provider."""

    access_token: str
    token_type: str
    expires_in: int | None = Field(default=None, exclude_if=is_absent)
    scope: str
    connection_id: str
    generation: int


class ReferenceView(BaseModel):
    """A reference that was just issued."""

    reference: str
    expires_in: int

"""The fields of a row as files name them: one spelling for tables and for objects."""

from collections.abc import Mapping
from typing import Any, Final

from broker.connections.moving.formats.reading import ReadOptions
from broker.connections.moving.members import Members, Untakeable
from broker.connections.moving.row import Row

OWN: Final = (
    "provider",
    "subject",
    "label",
    "scopes",
    "source_id",
    "account_id",
    "account_name",
    "created_at",
)
"""What a row may say beside its credential, parameters and metadata."""
GROUPS: Final = ("credentials", "parameters", "metadata")


def row_of(number: int, members: Mapping[str, Any], options: ReadOptions) -> Row:
    """The row that ``members`` make, which are named like the fields of a row.

    :raises Untakeable: naming the member that is of the wrong type, or is needed, or unknown.
    """
    read = Members(members)
    read.refuse_others((*OWN, *GROUPS))
    subject = read.identifier("subject")
    if subject is None:
        raise Untakeable("subject", "required: whose connection it is")
    provider = options.provider_of(read.text("provider") or "")
    if not provider:
        raise Untakeable("provider", "required where --provider names none")
    parameters = read.object("parameters")
    if not all(isinstance(value, str) for value in parameters.values()):
        raise Untakeable("parameters", "must be texts")
    if "credentials" not in members:
        raise Untakeable("credentials", "required; {} stands for the app's own (client credentials)")
    return Row(
        number=number,
        provider=provider,
        subject=subject,
        credentials=read.object("credentials"),
        parameters=parameters,
        scopes=read.texts("scopes"),
        label=read.text("label"),
        metadata=read.object("metadata"),
        account_id=read.identifier("account_id"),
        account_name=read.text("account_name"),
        created_at=read.moment("created_at"),
        source_id=read.identifier("source_id"),
    )

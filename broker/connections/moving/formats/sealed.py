"""Another broker's ``connections export``, opened with the private key that it was sealed to."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from broker.connections.moving.formats.reading import ReadOptions
from broker.connections.moving.members import Untakeable
from broker.connections.moving.recipients import RecipientKey, read_private_key
from broker.connections.moving.row import Row, RowFault
from broker.connections.moving.sealed_file import opened
from broker.connections.moving.whole import restored_of
from broker.errors import FieldFault, InvalidRequest


class SealedExport:
    """Reads it. Every row comes with the connection as it was; what it says besides repeats that for people."""

    def read(self, file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
        """See :class:`~broker.connections.moving.formats.reading.Reader`.

        :raises InvalidRequest: there is no private key, or none that can be read; or columns are said.
        """
        options.refuse_columns("export")
        if options.private_key is None:
            fault = FieldFault("--key", "required: the private key that the export was sealed to")
            raise InvalidRequest("the export can't be opened", [fault])
        return _rows(file, read_private_key(options.private_key, options.passphrase))


def _rows(file: BinaryIO, private: RecipientKey) -> Iterator[Row | RowFault]:
    for number, document in opened(file, private):
        if isinstance(document, RowFault):
            yield document
            continue
        try:
            restored = restored_of(document)
        except Untakeable as error:
            said = document.get("connection")
            yield error.at(number, said if isinstance(said, Mapping) else None, "id")
            continue
        connection = restored.connection
        yield Row(
            number=number,
            provider=connection.provider,
            subject=connection.subject,
            credentials={},
            parameters=connection.parameters,
            scopes=connection.requested_scopes,
            label=connection.label,
            metadata=connection.metadata,
            account_id=connection.account.id if connection.account else None,
            account_name=connection.account.name if connection.account else None,
            created_at=connection.created_at,
            source_id=connection.id,
            restored=restored,
        )

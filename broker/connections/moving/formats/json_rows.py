"""JSON Lines, or an array: each object shaped like the body of ``POST /v1/connections``, and a little more.

``provider``, ``subject``, ``credentials``, ``scopes``, ``parameters``, ``label`` and ``metadata`` mean the same as
there; ``source_id``, ``created_at``, ``account_id`` and ``account_name`` say what the other system knows.
"""

from collections.abc import Iterator
from typing import BinaryIO

from broker.connections.moving.formats.fields import row_of
from broker.connections.moving.formats.reading import ReadOptions
from broker.connections.moving.json_items import items_of
from broker.connections.moving.members import Untakeable
from broker.connections.moving.row import Row, RowFault


class JsonRows:
    """Reads them."""

    def read(self, file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
        """See :class:`~broker.connections.moving.formats.reading.Reader`."""
        options.refuse_columns("jsonl")
        return _rows(file, options)


def _rows(file: BinaryIO, options: ReadOptions) -> Iterator[Row | RowFault]:
    for number, item in items_of(file):
        if isinstance(item, RowFault):
            yield item
            continue
        try:
            yield row_of(number, item, options)
        except Untakeable as error:
            yield error.at(number, item, "source_id")

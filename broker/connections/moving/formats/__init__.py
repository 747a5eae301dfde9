"""Readers: a file in some format → rows, one after the other, however long the file is.

    recognition   which format it is, by its name or by its first bytes
    reading       what a reader is, and what the operator says about a file (``ReadOptions``)

    csv_table     a table with a line of names
    json_rows     objects as ``POST /v1/connections`` takes them: one a line, or an array
    nango         connections as Nango's API answers them
    authjs        the ``accounts`` table of Auth.js (NextAuth.js)
    allauth       ``manage.py dumpdata socialaccount`` of django-allauth
    sealed        another broker's ``connections export``

    fields        the fields of a row, as tables and objects spell them
    table         tables in text: names, then records

A reader tells what stands there. Whether it can be taken in is judged by whoever takes it.
"""

from broker.connections.moving.formats.reading import Reader, ReadOptions, columns_of, providers_of
from broker.connections.moving.formats.recognition import FORMATS, reader

__all__ = ["FORMATS", "ReadOptions", "Reader", "columns_of", "providers_of", "reader"]

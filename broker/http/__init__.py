"""What the faces share of HTTP, and none of them owns.

* ``reading`` – taking a request in: capped before it is parsed, refused where it could be read in two ways.
* ``problems`` – problem documents (RFC 9457), for the JSON face and for the last resort.
* ``context`` – around every request: its id, the caller's address, a log line, metrics, and the last resort for errors.

Knows nothing of connections or clients; imports ``observe`` and ``errors`` only.
"""

"""What the faces share of HTTP, and none of them owns.

* ``front`` – where every request enters: its id, a log line, metrics, and the last resort for what no endpoint answers.
  ``dispatch`` – which route serves it; ``address`` – where it comes from.
* ``reading`` – taking a request in: capped before it is parsed, refused where it could be read in two ways.
* ``problems`` – problem documents (RFC 9457), for the JSON face and for the last resort.
* ``answers`` – answers whose headers are known beforehand; ``described`` – models whose fields say what they mean.
* ``eagerly`` – awaiting what is mostly there already, under a deadline.

Knows nothing of connections or clients; imports ``observe``, ``models`` and ``errors`` only.
"""

"""``GET /openapi.json``: every operation of the broker as an OpenAPI 3.1 document, made of what validates.

* ``document`` – operations in, the document out.
* ``requests`` – an operation's parameters and body.
* ``responses`` – what it answers: its success, and every refusal that its face and its declaration know.
* ``models`` – pydantic's models as JSON Schema, said the way they are on the wire.
* ``words`` – what stands in no model: path parameters, client scopes, groups.
* ``route`` – the document at its address.

Knows operations, not the faces that declare them; imports nothing from ``api`` or ``oauth``.
"""

"""The services' faces: an OAuth authorization server of our own, and a JSON API.

* ``oauth/`` – RFC 6749 and its family under ``/oauth``: broker tokens, redeeming references, introspection, revocation.
* ``api/`` – the JSON face under ``/v1``.
* ``proxy/`` – providers' APIs under ``/proxy``, with a connection's credential put in.
* ``operation`` – a route, said once as data: what its face enforces.
* ``openapi/`` – the document that is made of these.

Each face judges a request in the same order (size and content type, authentication, scope, existence, body) and turns
the one error tree into its own kind of answer in one place. Must not import ``web`` or ``background`` (siblings).
"""

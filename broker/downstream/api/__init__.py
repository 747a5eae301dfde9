"""The JSON face under ``/v1``: what a backend does with connections.

* ``gate`` – the phases every request passes, and the one place where errors become problem documents (RFC 9457).
* ``bodies`` – what requests may say; ``views`` – what answers say. The models are the documentation.
* ``connect_sessions``, ``connections``, ``device_sessions``, ``tokens``, ``authorization``, ``references``,
  ``providers``, ``events``, ``clients`` – a file per resource: its operations, declared as data, and what differs.
* ``repeats`` – requests with an ``Idempotency-Key``: what they make is made once.

A request passes ``gate`` (size, content type, authentication, scope, existence), then its handler parses the body and
calls the heart. Handlers hold no state and decide nothing about access.
"""

"""The OAuth face: the broker as an authorization server for its own clients, with nothing of ours to learn.

* ``endpoint`` – the phases that every POST passes (size and content type, parameters, client authentication) and the
  one place where errors become RFC 6749 §5.2 answers.
* ``forms`` – what requests may say; ``answers`` – what answers say, no included. The models are the documentation.
* ``token`` – ``/oauth/token``: picks the grant; ``client_credentials``, ``token_exchange``, ``device_code`` and
  ``refresh_token`` fill in what differs. ``device_authorization`` – where a device login begins (RFC 8628).
* ``introspection`` (RFC 7662), ``revocation`` (RFC 7009), ``metadata`` (RFC 8414).

Must not import ``api`` handlers; both faces stand on the same heart.
"""

"""Who may do what.

* ``policy`` – the one function that every route and grant asks.
* ``allow`` – lists of the only requests that a client may make to providers' APIs.
* ``clients`` – registered clients: making, reading, listing, deleting; ``registration`` – what one may be registered
  with; ``return_urls`` – whether a return address is one of those.
* ``authentication`` – from a request's credentials to a :class:`~broker.models.access.Caller`; ``in_use`` – what the
  store said of them a moment ago.
* ``limits`` – what is limited, and how much: failures, and the pages that anybody may call.
* ``assertions`` – clients that prove themselves with a signature instead of a secret; ``jws`` – reading and verifying
  one; ``key_rules`` – which keys and algorithms count.
* ``tokens`` – broker tokens: issuing, looking up, revoking.
* ``device_sessions`` – the tokens of machines that are logged in: bound to one connection, rotating.
* ``references`` – capabilities for one connection's access token: issuing, introspecting, revoking.

A request passes ``authentication`` (who), then ``policy`` (may they), and only then reaches a connection.
Must not import ``connections`` (its sibling) nor any face.
"""

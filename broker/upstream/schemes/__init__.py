"""What goes onto a request to a provider's API so that it counts as a connection's: one file per scheme.

    signing.py     the type of a provider decides which scheme it is
      bearer.py      an access token (RFC 6750 §2.1)
      api_key.py     a key in a header or in the query
      basic.py       user name and password (RFC 7617)
      custom.py      what the entry's own templates say, with computed parts
      aws_sigv4.py   AWS Signature Version 4
    request.py     the request as far as schemes read it, and what they add to it

All of it is pure: a request and a credential go in, headers and query parameters come out, nothing is sent. Whoever
sends the request puts them in the place of what stands there under the same names.
"""

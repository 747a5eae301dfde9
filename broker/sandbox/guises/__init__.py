"""Guises: the practice provider appearing as another provider, as a description says how that one behaves.

``PUT /control/guises/{name}`` takes the description; from then on ``https://HOST/PATH`` of the provider is at
``/as/{name}/HOST/PATH``. Each guise has clients, grants and tokens of its own. It is strict where the provider is:
what it refuses, and why, ``GET /control/guises/{name}`` tells whoever looks for the reason.

=================  ==========================================================================
``description``    what can be said of a provider: addresses, authentication, shapes of answers
``templates``      JSON with placeholders, filled in; how an answer goes out
``guise``          a description, and what has come of it: grants, refusals, counters
``asked``          requests as this provider reads them: fields, headers, who asks
``authorize``      the consent page, and the redirect back
``token``          codes, refresh tokens, assertions and device codes for tokens
``device``         the provider's own device grant
``revoke``         tokens that are given back
``api``            whoami, the API behind it, and documents that anybody may read
``routes``         which address is which of these; and the control of it all
=================  ==========================================================================
"""

"""The providers' side: everything that is said to a provider, and how its answers are read.

It serves the heart (``connections``), which knows credentials but no protocol. A call passes through these
rooms::

    facade.py                   Upstream: the calls the heart makes; nothing but composition
      parameters.py             what a connection says about itself, put into the operator's templates
      discovery.py              issuer -> metadata: fetched once, shared, cached
      metadata.py                 ... read and judged (RFC 8414)
      endpoints.py              entry + parameters + metadata -> where to send, and whether to trust it
    authorization_code.py       one file per grant: its request, its difference
    refresh_token.py
    client_credentials.py
    github_app.py               tokens for what was handed in: an app's installation
    service_account.py          ... a service account (RFC 7523)
      signed_assertion.py         ... and what they sign
    device_grant.py             ... and the way to it, for a machine without a browser (RFC 8628)
      token_endpoint.py         what the grants share: build, send
      client_auth.py              ... who we are (RFC 6749 §2.3)
      token_response.py           ... and what came back (RFC 6749 §5)
    authorization_response.py   the ``iss`` of what came back through the browser (RFC 9207)
    revocation.py               giving a token back
    identity.py                 whose account it is
    key_sets.py                 keys that clients and their platforms publish: fetched once, shared, cached
    api_address.py              where a request to a provider's API may go
    relay.py                    ... and how it goes, piece by piece, as its answer comes back
    schemes/                    what goes onto it so that it counts as a connection's
      answers.py                reading any answer: body, refusals, requests for patience
      json_pointer.py           RFC 6901
    egress.py                   the only way out: deadline, capped body, no redirects, no cookies, TLS
      deadline.py               ... which takes nothing from who has answered in time
      address_guard.py          where user-supplied and discovered addresses may lead
      name_lookup.py            their names, looked up where one that hangs holds nobody else up

Build, send and parse are separate, and parsing is pure. Errors sort by what they mean for a credential:
``NotSent`` and ``ProviderBusy`` (the provider did nothing), ``OutcomeUnknown`` (it may have),
``ProviderRefused`` (it said no, with a code), ``ProviderError`` (it said no, or nonsense). Nothing here logs,
stores or retries, and nothing imports the vault.
"""

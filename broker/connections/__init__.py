"""The heart: how connections are made, kept fresh, used and ended.

* ``opening``, ``journey``, ``arrival``, ``completion`` – a connect session step by step: opened by an app, taken by a
  browser to the provider, and back, completed by the app; ``short_code`` – the code that a person carries back;
  ``proof`` – who may complete.
* ``submission`` – a session whose person hands a credential in on our own page, up to the completion; ``handed_in`` –
  from there to the connection.
* ``authorization`` – from an authorization code to a stored connection: exchange, identity, account check;
  ``ordered`` – what a session wants of it.
* ``device_request`` – a machine asks to log in; ``device_approval`` – its person agrees on our page, goes the
  browser's way and comes back; ``device_poll`` – the machine asks again, and so do we at a provider with a device grant
  of its own; ``device_life`` – machines that are logged in; ``managed_devices`` – as their person sees them.
* ``announcing`` – what is being connected, for those who disconnect.
* ``tokens`` – fetching an access token: release it, or refresh first.
* ``api_calls`` – requests to providers' APIs, with a credential put on: for callers to send, or sent on for them;
  ``api_places`` – where they may go, known before a credential is taken out.
* ``refresh`` – the one refresh, whoever asks and however many replicas: who gets the lease; ``tenure`` – holding it;
  ``turns`` – so many at once at a provider, and none while it is down; ``attempt`` – what happens under the lease;
  ``obtaining`` – new tokens for a refresh token; ``commits`` – what a provider granted goes into the record, or beside
  it; ``verdict`` – what a failure means.
* ``whoami`` – asking a provider whose token it is, and whether it accepts it.
* ``schedule`` – when a connection is refreshed next without anybody asking.
* ``bookkeeping`` – the audit record moves from the outboxes to the journal, and indexes follow the records;
  ``command_bookkeeping`` – what of it a command leaves to the broker that runs.
* ``intake`` – credentials that are handed in: judged in three steps, then stored; ``credential_format`` – the
  first, ``credential_document`` – for those that come as a file; ``importing`` – tokens that somebody else obtained.
* ``changes`` – what an app says of a connection, and a new credential in the place of the old one; ``standing_in`` –
  another connection of the same account serves.
* ``moving/`` – many at once: imported from elsewhere, and exported.
* ``lifecycle`` – refreshing on demand, testing, disconnecting; ``giving_back`` – what they held goes back
  to the provider, now or later.
* ``detached`` – work that outlives the request that started it; ``persistence`` – writes that are not given up;
  ``durability`` – commits are followed until replicas have them.

A fetch passes ``tokens`` → (``vault.release``) and touches nothing else while the token is fresh.
Must not import ``access`` (its sibling): who may do what is decided before a request comes here.
"""

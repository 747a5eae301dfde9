"""A practice provider: a small, real authorization server that runs as a process of its own.

``python -m broker.sandbox`` starts it on loopback. It shares no code with the broker, keeps everything in
memory, and behaves the way providers do: consent page, PKCE, rotating refresh tokens, revocation, an API. And it
misbehaves the way they do, when told: it hangs, loses answers, talks nonsense, forgets refresh tokens.

A request's way: ``app`` (routes, host guard) → one endpoint → ``grants`` (what was allowed, and the tokens).

======================== =====================================================================
``__main__``             arguments, listening, ending
``app``                  the routes; errors become answers here
``provider``             what the running provider knows, handed to every endpoint
``behaviour``            the knobs that flags and ``/control`` turn: life times, rotation, delay, faults
``faults``               what each fault looks like on the wire
``clients``              the registered apps and how they authenticate
``accounts``             the invented people, their messages, the scopes in plain words
``grants``               codes, grants and tokens: redeem, refresh, revoke; no HTTP in it
``keys``                 credentials of those who come without OAuth: who holds which; no HTTP in it
``guarded``              ``/keys/…``: the API behind keys, passwords and signatures
``signatures``           signed requests, verified
``assertions``           JWTs that apps and service accounts sign, verified
``installations``        tokens for where an app is installed
``pages``                what a person sees of it
``authorize``            ``/authorize``: the consent page and the redirect back
``devices``              device authorizations: start, decide, poll; no HTTP in it
``device``               ``/device_authorization``, and ``/device``: the page of the device grant
``token``                ``/token``: the phases; each grant type fills in its difference
``tokens``               ``/introspect`` and ``/revoke``
``resources``            ``/whoami`` and ``/api/messages``
``streams``               ``/api/streams/…`` and ``/keys/…/echo``: what a proxy in front has to cope with
``guises``               ``/as/…``: other providers, played as descriptions say how they behave
``metadata``             the two well-known documents
``control``              ``/counters`` and ``/control``: what was asked; changes while it runs
``parameters``           query strings and form bodies, read strictly
``errors``               OAuth errors and how they are answered
``counters``             what the provider was asked
======================== =====================================================================
"""

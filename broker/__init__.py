"""An OAuth 2.0 broker between a company's programs and its users' third-party accounts.

Data flows one way; imports go down only (checked by import-linter)::

    cli                                    what a person types
    app                                    settings -> resources -> routes
    downstream | web | background          faces: services, people, the clock
    http                                   what the faces share: requests taken in, ids, addresses
    connections | access                   the heart: credentials' lives; who may do what
    upstream | vault                       the providers' side; the store's side
    providers | settings | observe         what is configured, what is seen
    models : errors : clock                the words everything else is said in

``sandbox`` is a practice provider that runs as a process of its own and shares no code with the rest.
"""

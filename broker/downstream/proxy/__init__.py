"""``/proxy/{connection_id}/{path}``: a provider's API with the credential put in.

* ``routes`` – the routes, and what a request passes: the gate of the JSON face, then the heart, then the provider.
* ``headers`` – what of a request is passed on, and what of an answer is passed back.
* ``uploads`` – a body that is passed on while it comes in, kept while it is small enough to be sent again.
* ``hanging_up`` – a caller that does not wait for the end.
* ``relayed`` – an answer that is passed back while it comes in.

What it says itself are problem documents; an answer of the provider's carries ``Broker-Connection``.
"""

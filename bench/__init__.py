"""Measurements. Nothing here asserts anything: it prints what it saw, on which machine.

``python -m bench`` (or ``make bench``) starts everything itself on loopback and reports

* cold start: from the command to the first answer that says ready,
* memory of a worker,
* round trips and commands at the store per fetch of a fresh token,
* refreshes at the provider for 300 concurrent fetches of a token that was refused, with four workers.

``python -m bench expiring`` measures what happens when ten thousand connections expire in the same minute (a thousand
with ``quick``): see ``expiring``.

``python -m bench authentication`` measures whether the time that a refusal takes tells who is a client: see
``authentication``.

``python -m bench proxying`` measures what the proxy costs: see ``proxying``.

Figures in the README and the docs come from here.
"""

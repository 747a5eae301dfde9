"""The words that every layer speaks.

* ``ids`` – identifiers and secrets; ``address`` – addresses of hosts.
* ``access`` – who calls, and how far their reach goes.
* ``connection`` – a connection, its credential apart from what may be shown; ``account`` – whose it is at the provider;
  ``metadata`` – what the app says of it; ``consent`` – what was asked for and granted.
* ``session`` – an attempt to make one in a browser; ``device`` – a machine that logs in.
* ``event`` – one line of the audit record.

Plain frozen dataclasses. They know their own rules (is this status an end, does this reach cover that provider) and
nothing of stores, HTTP or providers. Secrets stand in types of their own, hidden from ``repr``.
Imports nothing of the package.
"""

"""Libraries that aren't ours, used as any service would use them, against a live broker over real HTTP.

* ``conftest`` – the broker as a process tree, and services registered with it by the operator's command.
* ``test_authlib`` – Authlib, asynchronous Python.
* ``test_javascript`` – oauth4webapi, run by Node: ``*.mjs`` are what a service's developer would write.
  ``make interop`` installs it from ``package-lock.json``; ``node`` finds Node among the locked Python packages.

Each finds the endpoints by RFC 8414, gets a broker token (RFC 6749 §4.4), calls the API with it (RFC 6750), redeems a
reference (RFC 8693), introspects (RFC 7662) and revokes (RFC 7009). Nothing here helps a library over a difference.
"""

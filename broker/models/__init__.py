"""The words that every layer speaks: ids, addresses, callers, connections, consents, connect sessions, logins, events.

Plain frozen dataclasses. They know their own rules (is this status an end, does this reach cover that provider) and
nothing of stores, HTTP or providers. Secrets stand in types of their own, hidden from ``repr``.
Imports nothing of the package.
"""

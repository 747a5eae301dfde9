"""Reaching the store.

* ``store`` – what the rest of the vault asks of a store; ``pipeline`` – one server: all commands of one process,
  batched; each command fails or is cancelled alone.
* ``connecting`` – from a URL to a connection that has our scripts loaded.
* ``fitness`` – what an external store must promise before it is trusted with tokens.
* ``embedded`` – our own Valkey for those who configured none.

Nothing here knows what is stored.
"""

"""Reaching the store.

* ``store`` – what the rest of the vault asks of a store, whichever kind it is.
* ``stream`` – one way to one server: all commands that gather travel as a batch, each fails or is cancelled alone;
  ``line`` – the connection in use at the time; ``sent`` – a command on its way.
  ``pipeline`` – one server as a store: a stream for commands, others for commits that replicas confirm.
* ``sentinel`` – whichever server is the primary; ``cluster``, ``topology`` – many servers, by slot.
* ``connecting`` – from the URL of one server to a connection that has our scripts loaded.
* ``fitness`` – what an external store must promise before it is trusted with tokens; ``refusals`` – what its errors
  mean.
* ``embedded`` – our own Valkey for those who configured none: ``server`` is its process, ``data_dir`` its folder,
  ``wire`` how it is asked whether it is well.

Nothing here knows what is stored.
"""

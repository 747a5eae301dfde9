"""Everything that is kept: sealed, versioned, and in one slot per connection.

* ``keyring`` – the keys: seals and opens secrets, signs cookies and cursors. The only place that orders keys.
* ``replicas`` – who lives and can read with which keys; ``rotation`` – another key writes, everything is rewrapped;
  ``envelopes`` – where sealed secrets lie; ``key_file`` – a new key for the embedded store.
* ``names`` – the layout of keys in the store.
* ``opening`` – opening the store: fit for tokens, and known to the keyring, before the first command.
* ``redis/`` – reaching the store: ``pipeline`` (concurrent commands as one batch), ``sentinel``, ``cluster``,
  ``embedded`` (our own Valkey), ``fitness`` (may this store be trusted with tokens).
* ``scripts``, ``lua/`` – one atomic step per file.
* ``records`` – connections; ``record_form``, ``record_documents`` – how they stand in their hash; ``record_check`` –
  whether that is what it should be.
* ``release`` – the hot path's one step; ``served`` – a whole credential that it hands over.
* ``leases`` – who may refresh a connection; ``parked`` – what came too late; ``revocations`` – ending one, and what is
  to be given back; ``due`` – what has to happen later; ``siblings`` – who may share a grant; ``directory``,
  ``listing`` – what there is.
* ``device_authorizations`` – machines that wait to be logged in; ``device_sessions`` – machines that are.
* ``stepping`` – hashes that pass through statuses, each step taken once.
* ``batches`` – imports, from their first row to their rollback; ``staged`` – their connections, nobody's until then.
* ``exports`` – which connections an export switched off, so that it can be undone.
* ``sessions`` – connect sessions; ``typed`` – what a person typed into one; ``documents`` – clients and broker tokens;
  ``references`` – capabilities; ``repeats`` – requests that may come again, and what was answered;
  ``counters`` – what rate limits count with; ``spent`` – identifiers that work once.
* ``admission`` – how many requests a provider sees at once from all replicas, and until when it is left alone.
* ``stored`` – reading what another version may have written; ``foreign`` – keys that hold what nobody put there.
* ``journal`` – the audit record; ``leadership`` – which replica does a chore.

A write carries what makes a repeat harmless (a generation, a status it expects), and whoever wants it done repeats it:
``connections`` knows for how long. Some steps are repeated here, once, when no answer comes (``run_or_repeat`` in
``redis/store``): those that use something up or give something out once, so that with the answer it would be lost.
Their scripts know a repeat, and answer it to the same effect: the release on a reference, the poll, the login and the
refresh of a machine, a step of a connect session or a device authorization, the claim on a request that may come again.
Must not import providers' side (``upstream``) nor anything above.
"""

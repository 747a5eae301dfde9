"""Everything that is kept: sealed, versioned, and in one slot per connection.

* ``keyring`` – the keys: seals and opens secrets, signs cookies and cursors. The only place that orders keys.
* ``replicas`` – who lives and can read with which keys; ``rotation`` – another key writes, everything is rewrapped;
  ``envelopes`` – where sealed secrets lie; ``key_file`` – a new key for the embedded store.
* ``names`` – the layout of keys in the store.
* ``opening`` – opening the store: fit for tokens, and known to the keyring, before the first command.
* ``redis/`` – reaching the store: ``pipeline`` (concurrent commands as one batch), ``sentinel``, ``cluster``,
  ``embedded`` (our own Valkey), ``fitness`` (may this store be trusted with tokens).
* ``scripts``, ``lua/`` – one atomic step per file.
* ``records`` – connections, ``record_form``, ``record_documents`` – how they stand in their hash;
  ``release`` – the hot path's one step;
  ``leases`` – who may refresh one; ``parked`` – what came too late; ``revocations`` – ending a connection, and what is
  to be given back; ``due`` – what has to happen later; ``admission`` – so many at once at a provider;
  ``siblings`` – who may share a grant; ``directory``, ``listing`` – what there is.
* ``device_authorizations`` – machines that wait to be logged in; ``device_sessions`` – machines that are.
* ``stepping`` – hashes that pass through statuses, each step taken once.
* ``batches`` – imports, from their first row to their rollback; ``staged`` – their connections, nobody's until then.
* ``sessions`` – connect sessions; ``typed`` – what a person typed into one; ``documents`` – clients and broker tokens;
  ``references`` – capabilities; ``repeats`` – requests that may come again, and what was answered;
  ``counters`` – what rate limits count with; ``spent`` – identifiers that work once.
* ``admission`` – how many requests a provider sees at once from all replicas, and until when it is left alone.
* ``stored`` – reading what another version may have written.
* ``journal`` – the audit record; ``leadership`` – which replica does a chore.

A write carries what makes a repeat harmless (a generation, a status it expects), so nothing here retries by itself.
Must not import providers' side (``upstream``) nor anything above.
"""

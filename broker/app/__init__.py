"""The composition root and the processes.

* ``heart`` – settings → everything below the faces. Commands that need the store use it, too.
  ``devices`` – its parts that log machines in.
* ``composition`` – heart → faces → a Starlette app with its lifespan.
* ``operations`` – ``/livez``, ``/readyz``, ``/metrics``; ``faults`` – the last resort for errors.
* ``supervisor`` – the parent process of ``serve``: listens, owns the embedded store, keeps ``worker`` processes alive;
  ``process``, ``events`` – how it does so; ``asking`` – how a broker is asked whether it is there, and ready.
* ``worker`` – one process that serves, and what it doesn't load for that; ``serving`` – its server; ``loop`` – its
  event loop; ``protocol`` – HTTP on one of its connections, within limits; ``measure`` – how much of a request has
  come; ``target`` – what it asks for; ``answering`` – how the answer leaves.
* ``openapi`` – the document of the whole app.
* ``static`` – files whose address changes with their content.

Imports every room; only ``cli`` imports it.
"""

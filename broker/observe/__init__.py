"""What can be seen of the broker while it runs.

* ``logs`` – structured logs, with everything that looks like a secret redacted and chatty libraries capped.
* ``parent`` – the same lines from the parent process, which does without structlog.
* ``steps`` – where the fault runs may cut a process off; nothing at all otherwise.
* ``metrics`` – Prometheus metrics; labels are names from code and configuration, never data.

* ``sink`` – where audit events are also written, for whoever collects them.

Audit events are not made here: they are data, written by the step they record (``vault.journal``).
"""

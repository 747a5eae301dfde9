"""What happens without a request: audit events move on, revocations are retried, what ended is unlisted.

* ``loop`` – a step that is repeated, survives its failures, and is done by one replica at a time.
* ``chores`` – the steps.

Runs in processes with ``BROKER_BACKGROUND_ENABLED``. Must not import the other faces.
"""

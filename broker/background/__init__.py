"""What happens without a request: audit events move on, revocations are retried, what ended is unlisted, what is in
use stays fresh, and what is idle is tested.

* ``loop`` – a step that is repeated, survives its failures, and is done by one replica at a time.
* ``chores`` – the steps.
* ``refreshing`` – refreshing ahead; ``checking`` – testing what is idle; ``lanes`` – so that no provider holds up
  another; ``configured`` – what can't be refreshed or tested, because the providers file lacks something.

Runs in processes with ``BROKER_BACKGROUND_ENABLED``. Must not import the other faces.
"""

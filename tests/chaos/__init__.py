"""The fault runs: real processes, cut off at each step of a refresh, and then asked what is left.

``make chaos`` runs all of it and prints a table; ``test_short_form`` runs a part of it with the other tests.

=============== =====================================================================
``cases``       what is tried: rotation × kill × step × store, and which of it must survive
``holder``      in the broker under test: waits at a step until the run lets it go
``line``        the way to the store, on which answers get lost and the target can change
``stores``      the store of a run, and what befalls it
``processes``   ``broker serve`` as a process that is killed, stopped, ended and started again
``fleet``       store, practice providers and brokers of one lane, and a service that calls them
``course``      one course: hold refreshes at every step, cut them off, let others take over, heal
``service``     a service that fetches tokens and uses them
``callers``     who asks another replica meanwhile
``judge``       what is left of a connection: survived, declared or lost
``load``        ``kill -9`` of the store under a load of refreshes
``waiting``     for what happens in other processes
``report``      the table
``lanes``       what runs beside what
=============== =====================================================================
"""
